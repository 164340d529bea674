package totp

import (
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// TestB40ImportOfAnAuthenticator: it is active at once, is used like any other, and replaces none that counts.
func TestB40ImportOfAnAuthenticator(t *testing.T) {
	h := newHouse(t)
	office, err := OpenOffice(t.Context(), h.DB(contract.TOTP), h.Clock)
	if err != nil {
		t.Fatal(err)
	}
	keys := h.Keys(contract.TOTP)
	p := h.person("u1")
	since := h.Clock.Now().Add(-time.Hour)
	m := MovedKey{Key: secret.New("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"), Label: "Pixel 9", Since: since}
	epoch := contract.Epoch{Population: 2, Person: 1}
	got, err := office.Import(t.Context(), keys, p.who, epoch, m)
	if err != nil || got.Epoch != epoch || got.Label != "Pixel 9" || !got.Since.Equal(since) || got.Enrolment == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	doc := p.kept()
	if now := stepAt(h.Clock.Now()); doc.Active == nil || doc.LastStep != now+window || doc.Person != 1 {
		t.Errorf("kept: %+v", doc)
	}
	out, ok, err := office.Export(t.Context(), keys, p.who, got.Enrolment)
	if err != nil || !ok || out.Key.Reveal() != m.Key.Reveal() || out.Label != m.Label || !out.Since.Equal(since) {
		t.Errorf("moved out again: %+v, %t, %v", out, ok, err)
	}
	if _, ok, err := office.Export(t.Context(), keys, p.who, "other"); ok || err != nil {
		t.Errorf("an enrolment that is not there: %t, %v", ok, err)
	}
	// Nobody else's row, and no other keys, open it.
	if _, err := keys.Store.Open(doc.Active.Secret, place(h.person("u2").who, got.Enrolment)); err == nil {
		t.Error("the key opens for somebody else")
	}
	// Once more is the same; another key does not replace it; after a reset it does, and not before the reset is known.
	for _, key := range []string{"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU"} {
		m.Key = secret.New(key)
		if again, err := office.Import(t.Context(), keys, p.who, epoch, m); err != nil || again != got {
			t.Errorf("again: %+v, %v; want %+v", again, err, got)
		}
	}
	if _, err := office.Import(t.Context(), keys, p.who, contract.Epoch{Population: 2, Person: 0}, m); contract.CodeOf(err) != contract.Conflict {
		t.Errorf("under a generation that is over: %v", err)
	}
	after, err := office.Import(t.Context(), keys, p.who, contract.Epoch{Population: 2, Person: 2}, m)
	if err != nil || after.Enrolment == got.Enrolment {
		t.Errorf("after a reset: %+v, %v", after, err)
	}
	for _, key := range []string{"", "JBSWY3DP", "no base32 at all"} {
		m.Key = secret.New(key)
		if _, err := office.Import(t.Context(), keys, h.person("u3").who, epoch, m); contract.CodeOf(err) != contract.InvalidRequest {
			t.Errorf("key %q: %v", key, err)
		}
	}
}
