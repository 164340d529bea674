package totp

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"sallyport/pkg/contract"
)

func TestB30RecoveryCodes(t *testing.T) {
	shape := regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$`)
	seen := make(map[string]bool)
	for range 100 {
		codes := newRecoveryCodes()
		if len(codes) != 10 {
			t.Fatalf("%d codes", len(codes))
		}
		for _, c := range codes {
			if !shape.MatchString(c) || seen[c] {
				t.Fatalf("%s: not a fresh code", c)
			}
			seen[c] = true
			if canonical, ok := canonicalRecoveryCode(c); !ok || canonical != strings.ReplaceAll(c, "-", "") {
				t.Fatalf("%s is read as %q, %v", c, canonical, ok)
			}
		}
	}
}

func TestB14SpellingsOfARecoveryCode(t *testing.T) {
	const want = "01AB23CD45EF67GH"
	for _, typed := range []string{
		"01AB-23CD-45EF-67GH", "01ab23cd45ef67gh", " 01AB 23CD  45EF-67gh ", "OIab-23cd-45ef-67gh", "olab23cd45ef67gh", "-01AB--23CD45EF67GH",
	} {
		if got, ok := canonicalRecoveryCode(typed); !ok || got != want {
			t.Errorf("%q is read as %q, %v", typed, got, ok)
		}
	}
	for _, typed := range []string{
		"", "01AB-23CD-45EF-67G", "01AB-23CD-45EF-67GHJ", "01AB-23CD-45EF-67GU", "01AB\t23CD45EF67GH", "01AB23CD45EF67GH\n",
		"01AB\u00a023CD45EF67GH", "０1AB23CD45EF67GH", "01AB_23CD_45EF_67GH", strings.Repeat(" ", 1000) + want,
	} {
		if got, ok := canonicalRecoveryCode(typed); ok {
			t.Errorf("%q is read as %q", typed, got)
		}
	}
}

func FuzzCanonicalRecoveryCode(f *testing.F) {
	for _, seed := range []string{"01AB-23CD-45EF-67GH", "oilOILOILOILOILO", "", "01AB-23CD-45EF-67G\u0130", "ſſſſſſſſſſſſſſſſ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := canonicalRecoveryCode(typed)
		if !ok {
			return
		}
		if len(code) != recoveryLength || strings.Trim(code, recoveryAlphabet) != "" {
			t.Fatalf("%q is read as %q", typed, code)
		}
		if again, ok := canonicalRecoveryCode(strings.ToLower(code)); !ok || again != code {
			t.Fatalf("%q is read as %q, and that as %q", typed, code, again)
		}
	})
}

func TestAHashBelongsToOneSetOfOnePerson(t *testing.T) {
	who := contract.Account{Portal: "p", User: "u"}
	h := recoveryHash(who, "s", "c")
	if len(h) != 64 || strings.Contains(h, ".") {
		t.Fatalf("%q is not fit for a field's name", h)
	}
	for name, other := range map[string]string{
		"another user": recoveryHash(contract.Account{Portal: "p", User: "v"}, "s", "c"),
		"shifted":      recoveryHash(contract.Account{Portal: "pu", User: ""}, "s", "c"),
		"another set":  recoveryHash(who, "t", "c"),
		"another code": recoveryHash(who, "s", "d"),
	} {
		if other == h {
			t.Errorf("%s has the same hash", name)
		}
	}
}

// What is kept of a recovery code costs something to guess.
func TestARecoveryCodeIsKeptAsAPasswordIs(t *testing.T) {
	who := contract.Account{Portal: "p", User: "u"}
	const code, other = "0123456789ABCDEF", "ZYXWVTSRQPNMKJHG"
	salt := sha256.Sum256([]byte("\x00\x00\x00\x00\x00\x00\x00\x01p\x00\x00\x00\x00\x00\x00\x00\x01u\x00\x00\x00\x00\x00\x00\x00\x01s"))
	if want := hex.EncodeToString(argon2.IDKey([]byte(code), salt[:], 1, 1024, 1, 32)); recoveryHash(who, "s", code) != want {
		t.Errorf("kept as %s, want %s", recoveryHash(who, "s", code), want)
	}
	hash := recoveryHash(who, "s", code)
	set := recoverySet{Set: "s", Population: 1, Codes: map[string]string{hash: "s"}}
	if got, ok := set.holds(who, 1, code); !ok || got != hash {
		t.Errorf("a code that is kept is not found: %q, %v", got, ok)
	}
	if _, ok := set.holds(who, 1, other); ok {
		t.Error("another code is found")
	}
	for _, generation := range []int64{0, 2} { // before the population was off and on again, and after
		if _, ok := set.holds(who, generation, code); ok {
			t.Error("a code of another generation is found")
		}
	}
	set.Set = "t" // codes of another set, such as of before
	if _, ok := set.holds(who, 1, code); ok {
		t.Error("a code of another set is found")
	}
	if _, ok := (recoverySet{Codes: map[string]string{}}).holds(who, 1, code); ok {
		t.Error("who has no codes has this one")
	}
}
