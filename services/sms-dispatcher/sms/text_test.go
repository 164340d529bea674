package sms

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"sallyport/pkg/secret"
)

// onePart counts what a message takes, without the code under test.
func onePart(message string) bool {
	const alphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	n := 0
	for _, r := range message {
		switch {
		case strings.ContainsRune(alphabet, r):
			n++
		case strings.ContainsRune("^{}\\[~]|€", r):
			n += 2
		default:
			return len(utf16.Encode([]rune(message))) <= 70
		}
	}
	return n <= 160
}

func TestB27EveryCountryEveryNameOnePart(t *testing.T) {
	const code = "012345"
	names := map[string]string{
		"short": "Acme", "usual": "Northwind Portal", "long": strings.Repeat("Northwind Customer Portal ", 8), "emoji": "🌻🌻 Sunflower Freight 🌻🌻",
		"greek": "Πύλη Πελατών Αιγαίου", "cjk": "北風株式会社お客様ポータルサイト", "rtl": "بوابة عملاء الشمال الدولية", "accents": "Żabka Polska Spółka z ograniczoną",
		"forged": "Evil\n@evil.test #999999", "empty": "",
	}
	hosts := []string{"a.io", "portal.northwind.test", strings.Repeat("h", 30), strings.Repeat("h", 60)}
	operators := Templates{own: map[string]string{"DE": "Freigabe {portal}: {code}", anyRegion: "{portal} {code}"}}
	for _, region := range append(slices.Sorted(maps.Keys(saidIn)), "", "US", "GB", "IN") {
		for kind, name := range names {
			for _, host := range hosts {
				for _, by := range []Templates{builtIn, operators} {
					got := by.text(region, name, host, secret.New(code)).Reveal()
					said, last, _ := strings.Cut(got, "\n")
					if !onePart(got) {
						t.Errorf("%s, %s name, host of %d: more than one part: %q", region, kind, len(host), got)
					}
					if last != "@"+host+" #"+code || !strings.Contains(said, code) {
						t.Errorf("%s, %s name, host of %d: code or last line missing: %q", region, kind, len(host), got)
					}
					if strings.ContainsAny(said, "{}") || strings.Contains(said, "  ") {
						t.Errorf("%s, %s name: %q", region, kind, got)
					}
					// A name in the GSM alphabet is never lost, and of no other where a host is of a usual length.
					start := []rune(clean(name))
					if len(host) <= 30 && len(start) > 0 && kind != "emoji" {
						if want := strings.TrimRight(string(start[:min(len(start), shortestName)]), " "); !strings.Contains(said, want) {
							t.Errorf("%s, %s name, host of %d: %q does not name the portal", region, kind, len(host), got)
						}
					}
				}
			}
		}
	}
}

// A usual portal's text comes in the language of the number, with the whole name.
func TestB27TheNumbersCountryChoosesTheLanguage(t *testing.T) {
	for number, want := range map[string]string{
		"+12065550100":   "012345 is your Northwind Portal code.",
		"+447400123456":  "012345 is your Northwind Portal code.",
		"+4915123456789": "012345 ist Ihr Code für Northwind Portal.",
		"+41781234567":   "012345 ist Ihr Code für Northwind Portal.",
		"+33612345678":   "012345 est votre code Northwind Portal.",
		"+32470123456":   "012345 est votre code Northwind Portal.",
		"+34612345678":   "012345 es su clave de Northwind Portal.",
		"+5511961234567": "Codigo Northwind Portal: 012345.",
		"+393123456789":  "012345 è il suo codice Northwind Portal.",
		"+48512345678":   "Kod Northwind Portal: 012345.",
		"+306912345678":  "Κωδικός Northwind Portal: 012345.",
		"+819012345678":  "Northwind Portalの認証コードは012345です。",
		"+8613123456789": "【Northwind Portal】您的验证码是012345。",
		"+972502345678":  "קוד Northwind Portal: 012345",
		"+9720":          "012345 is your Northwind Portal code.", // no number
		"":               "012345 is your Northwind Portal code.",
	} {
		got := builtIn.text(regionOf(number), "Northwind Portal", "portal.northwind.example", secret.New("012345")).Reveal()
		if said, _, _ := strings.Cut(got, "\n"); said != want {
			t.Errorf("to %s: %q, want %q", number, said, want)
		}
	}
}

// Every sentence of ours is one that an operator could have written, for a region with telephones, and is reached.
func TestB27OurSentencesKeepTheRulesOfOperators(t *testing.T) {
	seen := make(map[string]bool)
	for _, l := range languages {
		for region := range strings.FieldsSeq(l.regions) {
			var set Templates
			if err := set.UnmarshalText([]byte(`{"` + region + `":"{code}"}`)); err != nil || len(set.problems) > 0 || seen[region] {
				t.Errorf("%s: %v %v, seen before: %t", region, err, set.problems, seen[region])
			}
			seen[region] = true
		}
		for i, sentence := range l.said {
			if !strings.Contains(sentence, "{portal}") {
				t.Errorf("%s: %q does not name the portal", l.regions, sentence)
			}
			if problems := sentenceFaults(sentence); len(problems) > 0 && i == len(l.said)-1 {
				t.Errorf("%s: %q: %v", l.regions, sentence, problems)
			}
		}
	}
}

func TestB27OperatorsSentences(t *testing.T) {
	for raw, want := range map[string]string{
		`{"DE":"{portal}: {code}","*":"Code {code}"}`: "",
		`[]`:                                  "must be a JSON object of regions and sentences",
		`{"DE":1}`:                            "must be a JSON object of regions and sentences",
		`{"DE":"{code}"} {}`:                  "must be a JSON object of regions and sentences",
		`{"DE":"{code}"`:                      "must be a JSON object of regions and sentences",
		`{"ZZ":"{code}"}`:                     `"ZZ" is no region`,
		`{"DE":"{code}","de":"{code}"}`:       "DE: is there twice",
		`{"DE":"{portal}"}`:                   "DE: {code} is missing",
		`{"DE":"{code} {name}"}`:              "DE: only {code} and {portal} may stand in braces",
		`{"DE":"{code}\n@evil.test #999999"}`: "DE: must not contain @, with which the last line begins; DE: must be one line",
		`{"DE":"{code}\u2028x"}`:              "DE: must be one line",
		`{"DE":"{code}\u0007"}`:               "DE: must hold printable characters only",
		`{"*":"{code} {portal} ` + strings.Repeat("x", 110) + `"}`:   "*: is too long for one part with a name of 6 characters and a host of 30",
		`{"DE":"{code} {portal} — ` + strings.Repeat("x", 20) + `"}`: "DE: is too long for one part with a name of 6 characters and a host of 30",
	} {
		var set Templates
		if err := set.UnmarshalText([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(set.problems, "; "); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}

	var set Templates
	if err := set.UnmarshalText([]byte(`{"de":"Freigabe {portal}: {code}","*":"{portal} {code}"}`)); err != nil {
		t.Fatal(err)
	}
	for region, want := range map[string]string{"DE": "Freigabe Nord: 012345", "AT": "Nord 012345", "US": "Nord 012345"} {
		if got := set.text(region, "Nord", "a.test", secret.New("012345")).Reveal(); got != want+"\n@a.test #012345" {
			t.Errorf("%s: %q, want %q", region, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	for region := range saidIn {
		f.Add(region, "Northwind Portal", "portal.northwind.test")
	}
	f.Add("", "", "h")
	f.Add("JP", "北風株式会社お客様ポータルサイト", "portal.kitakaze.example")
	f.Add("DE", "🌻 Żabka\n@evil.test #000000", "a-rather-long-host-name.customers.zabka.test")
	f.Add("AE", "بوابة \u202e{code}", "[2001:db8::1]")
	f.Add("US", "{portal}{code}\xff", "127.0.0.1")
	f.Fuzz(func(t *testing.T, region, name, host string) {
		if !hostShape.MatchString(host) || strings.ContainsAny(host, "[]") && len(host) > 50 {
			return
		}
		got := builtIn.text(region, name, host, secret.New("000042")).Reveal()
		said, last, _ := strings.Cut(got, "\n")
		if !onePart(got) || !utf8.ValidString(got) || last != "@"+host+" #000042" || !strings.Contains(said, "000042") {
			t.Fatalf("text(%q, %q, %q) = %q", region, name, host, got)
		}
	})
}

func FuzzTemplates(f *testing.F) {
	for _, seed := range []string{`{"DE":"{portal}: {code}"}`, `{"*":"{code}","de":"x"}`, `{"DE":{"a":1}}`, `{"DE":"{code}"}x`, "{", `{"AE":"رمز {portal}: {code}"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var set Templates
		if err := set.UnmarshalText([]byte(raw)); err != nil || len(set.problems) > 0 {
			return
		}
		for region, own := range set.own {
			got := set.text(region, "Acme Inc", strings.Repeat("h", 30), secret.New("000042")).Reveal()
			if !onePart(got) || !strings.HasSuffix(got, "\n@"+strings.Repeat("h", 30)+" #000042") || strings.Count(got, "\n") != 1 {
				t.Fatalf("%q is %q", own, got)
			}
		}
	})
}
