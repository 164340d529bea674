package gateway

import (
	"strings"
	"testing"

	"sallyport/pkg/config"
	"sallyport/pkg/secret"
)

// What is kept of a password is argon2id, with the default cost that docs/decisions/passwords.md gives, and every
// character of it counts.
func TestAPasswordIsKeptAsArgon2idAndComparedAsTyped(t *testing.T) {
	s, err := config.Load[Settings](map[string]string{"NATS_URL": "nats://127.0.0.1:1", "MONGODB_URI": "mongodb://127.0.0.1:1", "KEYSET_FILE": "k", "PUBLIC_URL": "https://portal.example"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPasswords(s.Argon2Memory, s.Argon2Time)
	if err != nil {
		t.Fatal(err)
	}
	typed := "Seven gr\u00fcne umbrellas " + strings.Repeat("and one more ", 18)
	hash, err := p.hash(t.Context(), secret.New(typed))
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=7168,t=5,p=1$") || strings.Contains(hash, "umbrella") {
		t.Fatalf("kept as %q, %v", hash, err)
	}
	if ok, err := p.match(t.Context(), hash, secret.New(typed)); !ok || err != nil {
		t.Errorf("as it was typed: %v, %v", ok, err)
	}
	for how, other := range map[string]string{
		"another case": strings.ToLower(typed), "a space more": typed + " ", "the last character missing": typed[:len(typed)-1],
		"another form of a letter": strings.Replace(typed, "\u00fc", "u\u0308", 1), "cut off at 72 bytes": typed[:72],
	} {
		if ok, err := p.match(t.Context(), hash, secret.New(other)); ok || err != nil {
			t.Errorf("%s: %v, %v", how, ok, err)
		}
	}
	if again, err := p.hash(t.Context(), secret.New(typed)); err != nil || again == hash {
		t.Errorf("two hashes of one password are the same: no salt (%v)", err)
	}
}
