package attack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/test/sut"
)

// refuser is a provider that says where it is, and answers every code in the same way.
func refuser(t *testing.T, token http.HandlerFunc) (base string) {
	return provider(t, token, jose.JSONWebKeySet{})
}

// provider says where it is and with which keys it signs, and leaves it to token what a code is worth.
func provider(t *testing.T, token http.HandlerFunc, keys jose.JSONWebKeySet) (base string) {
	t.Helper()
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{ // the product says if it does not arrive
			"issuer": s.URL, "authorization_endpoint": s.URL + "/auth", "token_endpoint": s.URL + "/token", "jwks_uri": s.URL + "/keys",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(keys) }) // it says so, too
	mux.HandleFunc("/token", token)
	return s.URL
}

// trusting are the operator's words by which a portal of the demo trusts a provider, as "echo".
func trusting(t *testing.T, base, clientSecret string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "client-secret")
	if err := os.WriteFile(file, []byte(clientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"portal", "provider", "set", "--portal=demo", "--id=echo", "--name=Echo", "--issuer=" + base, "--client-id=gate", "--client-secret-file=" + file, "--domain=demo.test",
	}
}

// toProvider is where the provider's button sends the browser; nil if not to the provider.
func toProvider(base string, a sut.Answer) *url.URL {
	at, err := url.Parse(a.Header.Get("Location"))
	if err != nil || a.Status != http.StatusSeeOther || at.Scheme+"://"+at.Host+at.Path != base+"/auth" {
		return nil
	}
	return at
}

// voucher is a provider that vouches for whomever a test names.
type voucher struct {
	h    *house
	base string

	mu   sync.Mutex
	said map[string]map[string]any // claims by code
}

// trust makes the portal of a house trust a voucher for addresses of these tests. It comes before the first request:
// gateways look for providers only now and then.
func (h *house) trust(t *testing.T) *voucher {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
	if err != nil {
		t.Fatal(err)
	}
	v := &voucher{h: h, said: map[string]map[string]any{}}
	v.base = provider(t, func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		claims := v.said[r.FormValue("code")]
		v.mu.Unlock()
		raw, err := json.Marshal(claims)
		if err != nil {
			t.Error(err)
		}
		token := ""
		if signed, err := signer.Sign(raw); err != nil {
			t.Error(err)
		} else if token, err = signed.CompactSerialize(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "of no use", "token_type": "Bearer", "id_token": token}) // whose sign-in fails says so
	}, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	trusted := gateway.Provider{ID: "echo", Name: "Echo", Issuer: v.base, ClientID: "gate", ClientSecret: secret.New("echo"), Domains: []string{"attack.test"}}
	if _, err := h.office(t).SetProvider(t.Context(), h.Keys(contract.AuthGateway), gateway.DemoPortal, trusted, "operator:test"); err != nil {
		t.Fatal(err)
	}
	return v
}

// arrives is somebody's way to the voucher and back, in a browser of its own: what the last step is answered.
func (v *voucher) arrives(t *testing.T, email string) sut.Answer {
	t.Helper()
	out := v.h.visit(t, "/sign-in/with/echo", "")
	to := toProvider(v.base, out)
	if to == nil {
		t.Errorf("the way to the provider: status %d, to %q", out.Status, out.Header.Get("Location"))
		return out
	}
	cookie, _, _ := strings.Cut(out.Header.Get("Set-Cookie"), ";")
	now, code := v.h.Clock.Now(), rand.Text()
	v.mu.Lock()
	v.said[code] = map[string]any{
		"iss": v.base, "aud": "gate", "sub": email, "nonce": to.Query().Get("nonce"), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"email": email, "email_verified": true, "name": "Vera Vouched",
	}
	v.mu.Unlock()
	return v.h.visit(t, "/sign-in/callback?"+url.Values{"state": {to.Query().Get("state")}, "code": {code}}.Encode(), cookie)
}
