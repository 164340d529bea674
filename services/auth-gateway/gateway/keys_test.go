package gateway

import (
	"context"
	"testing"

	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
)

// B40: client secrets of sign-in providers are re-sealed where they are, and still belong to their portal and provider.
func TestB40ClientSecretsAreResealed(t *testing.T) {
	w := servicetest.New(t)
	a, keys := directoryOf(t, w), w.Keys(contract.AuthGateway)
	for _, id := range []string{"north", "south"} {
		p := portal{ID: id, Name: id, Providers: map[string]provider{}}
		for _, v := range []Provider{
			{ID: "microsoft", Name: "Microsoft", Issuer: "https://login.test/m", ClientID: "c", ClientSecret: secret.New("secret of microsoft"), Domains: []string{"m.test"}},
			{ID: "okta-2", Name: "Okta", Issuer: "https://login.test/o", ClientID: "c", ClientSecret: secret.New("secret of okta-2"), Domains: []string{"o.test"}},
			{ID: "public", Name: "Public", Issuer: "https://login.test/p", ClientID: "c", Domains: []string{"p.test"}},
		} {
			kept, err := v.sealed(keys, id)
			if err != nil {
				t.Fatal(err)
			}
			p.Providers[v.ID] = kept
		}
		if err := a.portals.Insert(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	svc := w.Start(contract.AuthGateway, func(ctx context.Context, env service.Env) (*service.Service, error) {
		s, err := config.Load[service.Settings](env.Vars)
		if err != nil {
			return nil, err
		}
		svc, err := service.Open(ctx, contract.AuthGateway, env, s)
		if err != nil {
			return nil, err
		}
		return svc, svc.Reseal(ctx, keptSealed())
	}, nil)
	was := w.Rotate(contract.AuthGateway)
	if err := svc.Keys.Reload(); err != nil {
		t.Fatal(err)
	}
	w.Resealed(contract.AuthGateway, was)
	box := w.Keys(contract.AuthGateway).Store
	for _, id := range []string{"north", "south"} {
		p, err := a.portals.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range p.providerOrder() {
			got, err := secretOf(box, id, v)
			want := "secret of " + v.ID
			if v.ID == "public" {
				want = ""
			}
			if err != nil || got.Reveal() != want {
				t.Errorf("%s/%s opens as %q, %v", id, v.ID, got.Reveal(), err)
			}
			if want != "" && box.Old(v.ClientSecret) {
				t.Errorf("%s/%s is under the old key", id, v.ID)
			}
		}
	}
}
