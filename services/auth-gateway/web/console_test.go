package web

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
)

func TestFigure(t *testing.T) {
	for f, want := range map[Figure]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := f.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(f), got, want)
		}
	}
}

// A list's next page keeps its filters, and a search that is cleared keeps whose list it is.
func TestB35AddressesOfLists(t *testing.T) {
	p := People{Audience: Contacts, Organization: "Globex & Söhne", Query: "a b", Standing: Skipped, Next: "c+/="}
	for what, c := range map[string]struct{ got, want string }{
		"next":  {p.NextURL(), "/admin/users?audience=organization&cursor=c%2B%2F%3D&organization=Globex+%26+S%C3%B6hne&query=a+b&standing=skipped"},
		"first": {p.FirstURL(), "/admin/users?audience=organization&organization=Globex+%26+S%C3%B6hne&query=a+b&standing=skipped"},
		"all":   {p.AllURL(), "/admin/users?audience=organization&organization=Globex+%26+S%C3%B6hne"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", what, c.got, c.want)
		}
	}
	day := time.Date(2026, time.March, 12, 0, 0, 0, 0, time.UTC)
	a := Audit{Filter: Filter{Typed: "dana@northwind.test", Action: "enrolment_reset", From: day, To: day}, Next: "7"}
	const query = "action=enrolment_reset&from=2026-03-12&to=2026-03-12&user=dana%40northwind.test"
	if got, want := a.CSVURL(), "/admin/audit.csv?"+query; got != want {
		t.Errorf("export: %s, want %s", got, want)
	}
	if got := (Deliveries{}).FirstURL(); got != "/admin/deliveries" {
		t.Errorf("deliveries: %s", got)
	}
}

// Every action of the contract has a name and a sentence, whoever did it.
func TestB39EveryActionHasWords(t *testing.T) {
	who, whom := Named{ID: "dana", Name: "Dana"}, Named{ID: "ines", Name: "Ines"}
	for _, action := range contract.AuditActions() {
		if name := ActionText(string(action)); Say("en", name) == string(name) {
			t.Errorf("%s has no name", action)
		}
		v := view{Frame: Frame{Lang: "en"}, Page: Audit{}}
		for _, r := range []AuditRow{{Action: string(action), Actor: who, Person: whom}, {Action: string(action), Person: whom}, {Action: string(action), Actor: whom, Person: whom}} {
			said, err := v.Sentence(r)
			if err != nil || strings.Contains(string(said), "{") {
				t.Errorf("%s: %s, %v", action, said, err)
			}
		}
		if _, known := auditTexts[string(action)]; !known {
			t.Errorf("%s has no sentence", action)
		}
	}
}

// The sample of a colour is a picture whatever is typed, and shows what a page would.
func TestB34BrandSample(t *testing.T) {
	for _, accent := range []string{"#ffcc00", "", `"/><script>`, "#000", "#FFFFFF"} {
		sample := string(BrandSample(accent, "Sign in", "Help"))
		d := xml.NewDecoder(strings.NewReader(sample))
		for {
			token, err := d.Token()
			if err == io.EOF { //nolint:errorlint // as the decoder says it
				break
			}
			if err != nil {
				t.Fatalf("%q: %v", accent, err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "script" {
				t.Errorf("%q became a script", accent)
			}
		}
		if !strings.Contains(sample, shades(accent).dark.text.String()) {
			t.Errorf("%q: the sample shows another colour than the page", accent)
		}
	}
}
