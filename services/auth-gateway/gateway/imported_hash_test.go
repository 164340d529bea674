package gateway

import (
	"slices"
	"strings"
	"testing"

	"github.com/alexedwards/argon2id"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// imported are hashes of one password that other software made (Python's hashlib and crypt, Perl's crypt), and the
// library that ours come from.
func imported(t testing.TB) map[string]string {
	t.Helper()
	own, err := argon2id.CreateHash(importedPassword, &argon2id.Params{Memory: 512, Iterations: 2, Parallelism: 2, SaltLength: 16, KeyLength: 32})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"argon2id-512-2-2-32":   own,
		"bcrypt-4":              "$2b$04$abcdefghijklmnopqrstuu/Bb18wLvDt95KPo68kQKNS85bXk2caW",
		"bcrypt-5":              "$2y$05$abcdefghijklmnopqrstuu1X5GROFtqFWhirnHeFkAVdieqtdtjdC",
		"scrypt-14-8-1-32":      "$scrypt$ln=14,r=8,p=1$c2l4dGVlbiBieXRlcyBvZg$IIeyQbbxOhu0D9fNJuaHCTfILWWBNPAkKKls0b4VAiw",
		"pbkdf2-sha256-1200-32": "$pbkdf2-sha256$1200$c2l4dGVlbiBieXRlcyBvZg$/irhMt4rU6oZEHCr9hx5S5AKaJomb/PPkEDGFPVIDl8",
		"pbkdf2-sha512-1200-64": "$pbkdf2-sha512$1200$c2l4dGVlbiBieXRlcyBvZg$6e9F0nmqjYYUIN3453sZuLqKr4DIeXTc/lG+2qp7L7m4kat1uJWTSfCLEf/IYhpXZBXiaS7cXUmU32ueRSG8NQ",
	}
}

const importedPassword = "grey herons at low tide"

func TestB40ImportedHashesOpenForTheirPasswordAlone(t *testing.T) {
	for recipe, text := range imported(t) {
		h, refusal := parseHash(text)
		if refusal != nil || h.recipe() != recipe {
			t.Fatalf("%s: %s, %v", recipe, h.recipe(), refusal)
		}
		for typed, want := range map[string]bool{importedPassword: true, importedPassword + " ": false, "": false} {
			if ok, err := h.matches(typed); ok != want || err != nil {
				t.Errorf("%s: %q is %t, %v", recipe, typed, ok, err)
			}
		}
		dummy, refusal := parseHash(h.dummy())
		if refusal != nil || dummy.recipe() != recipe {
			t.Errorf("the dummy of %s is %s, %v", recipe, dummy.recipe(), refusal)
		}
		if ok, err := dummy.matches(importedPassword); ok || err != nil {
			t.Errorf("the dummy of %s matches: %t, %v", recipe, ok, err)
		}
	}
}

func TestB40ImportedHashesMustBeAffordable(t *testing.T) {
	sum := strings.Repeat("A", 43)
	for text, why := range map[string]contract.Reason{
		"": hashForm, "$": hashForm, "hunter2": hashForm, "$1$salt$sum": hashForm, "$6$salt$" + sum: hashForm,
		"$argon2i$v=19$m=65536,t=3,p=1$c29tZXNhbHQ$" + sum:                             hashForm,
		"$argon2id$v=16$m=65536,t=3,p=1$c29tZXNhbHQ$" + sum:                            hashForm,
		"$argon2id$v=19$t=3,m=65536,p=1$c29tZXNhbHQ$" + sum:                            hashForm,
		"$argon2id$v=19$m=-1,t=3,p=1$c29tZXNhbHQ$" + sum:                               hashForm,
		"$argon2id$v=19$m=99999999999,t=3,p=1$c29tZXNhbHQ$" + sum:                      hashForm,
		"$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$" + sum:                                 hashForm, // a salt of four bytes
		"$argon2id$v=19$m=65536,t=3,p=1$c29tZXNhbHQ$AAAA":                              hashForm,
		"$argon2id$v=19$m=65536,t=3,p=1$c29tZXNhbHQ$" + sum + "$x":                     hashForm,
		"$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$" + sum:                          hashCost,
		"$argon2id$v=19$m=65536,t=99,p=1$c29tZXNhbHQ$" + sum:                           hashCost,
		"$argon2id$v=19$m=131072,t=5,p=1$c29tZXNhbHQ$" + sum:                           hashCost,
		"$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$" + sum:                            hashCost,
		"$argon2id$v=19$m=65536,t=1,p=0$c29tZXNhbHQ$" + sum:                            hashCost,
		"$argon2id$v=19$m=4,t=1,p=1$c29tZXNhbHQ$" + sum:                                hashCost,
		"$2b$31$abcdefghijklmnopqrstuu/Bb18wLvDt95KPo68kQKNS85bXk2caW":                 hashCost,
		"$2b$03$abcdefghijklmnopqrstuu/Bb18wLvDt95KPo68kQKNS85bXk2caW":                 hashCost,
		"$2b$4$abcdefghijklmnopqrstuu/Bb18wLvDt95KPo68kQKNS85bXk2caW":                  hashForm,
		"$2x$04$abcdefghijklmnopqrstuu/Bb18wLvDt95KPo68kQKNS85bXk2caW":                 hashForm,
		"$2b$04$abcdefghijklmnopqrstuu/Bb18wLvDt95KPo68kQKNS85bXk2ca":                  hashForm,
		"$scrypt$ln=20,r=8,p=1$c29tZXNhbHQ$" + sum:                                     hashCost,
		"$scrypt$ln=14,r=8,p=16$c29tZXNhbHQ$" + sum:                                    hashCost,
		"$scrypt$ln=63,r=8,p=1$c29tZXNhbHQ$" + sum:                                     hashCost,
		"$scrypt$ln=14,r=0,p=1$c29tZXNhbHQ$" + sum:                                     hashCost,
		"$pbkdf2-sha256$999999999$c29tZXNhbHQ$" + sum:                                  hashCost,
		"$pbkdf2-sha256$1$c29tZXNhbHQ$" + sum:                                          hashCost,
		"$pbkdf2-sha1$20000$c29tZXNhbHQ$" + sum:                                        hashForm,
		"$argon2id$v=19$m=65536,t=3,p=1$c29tZXNhbHQ$" + sum + strings.Repeat("A", 600): hashForm,
	} {
		if _, refusal := parseHash(text); refusal == nil || refusal.Reason != why {
			t.Errorf("%.70s: %v, want %s", text, refusal, why)
		}
	}
}

// FuzzImportedHash: whatever is taken can be afforded, and says how it was made in a name that fits a field.
func FuzzImportedHash(f *testing.F) {
	for _, text := range imported(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, refusal := parseHash(text)
		if refusal != nil {
			return
		}
		if strings.ContainsAny(h.recipe(), ".$\x00") || h.memory > mostMemoryKiB || h.scheme == schemeBcrypt && h.cost > mostBcrypt {
			t.Errorf("%q is taken as %s", text, h.recipe())
		}
		if again, refusal := parseHash(h.dummy()); refusal != nil || again.recipe() != h.recipe() {
			t.Errorf("%q: its dummy is %s, %v", text, again.recipe(), refusal)
		}
	})
}

// TestB40ImportedHashesTellNobodyApart: while a portal has imported hashes, an address without an account, one with a hash
// of ours and one with an imported hash cost the same work: a hash of ours and one of each form.
func TestB40ImportedHashesTellNobodyApart(t *testing.T) {
	p, err := newPasswords(64, 1, 16)
	if err != nil {
		t.Fatal(err)
	}
	own, err := p.hash(t.Context(), secret.New(importedPassword))
	if err != nil {
		t.Fatal(err)
	}
	two := imported(t)
	forms := map[string]string{p.recipe: p.dummy} // people of another Sallyport have hashes like ours
	for _, form := range []string{"bcrypt-4", "argon2id-512-2-2-32"} {
		h, refusal := parseHash(two[form])
		if refusal != nil {
			t.Fatal(refusal)
		}
		forms[form] = h.dummy()
	}
	want := []string{"argon2id-512-2-2-32", p.recipe, "bcrypt-4"}
	for who, u := range map[string]user{
		"nobody": {}, "one of ours": {Password: own}, "one without a password": {HashForm: "bcrypt-4"},
		"one with bcrypt": {Password: two["bcrypt-4"], HashForm: "bcrypt-4"}, "one with argon2id": {Password: two["argon2id-512-2-2-32"], HashForm: "argon2id-512-2-2-32"},
		"one of another Sallyport": {Password: own, HashForm: p.recipe},
	} {
		stored, others := p.comparisons(u, forms)
		var work []string
		for _, hash := range append(others, stored) {
			h, refusal := parseHash(hash)
			if refusal != nil {
				t.Fatal(refusal)
			}
			work = append(work, h.recipe())
		}
		if slices.Sort(work); !slices.Equal(work, want) {
			t.Errorf("%s costs %q, want %q", who, work, want)
		}
		for typed, right := range map[string]bool{importedPassword: u.Password != "", "wrong": false} {
			if ok, err := p.judge(t.Context(), u, forms, secret.New(typed)); ok != right || err != nil {
				t.Errorf("%s: %q is %t, %v", who, typed, ok, err)
			}
		}
	}
}
