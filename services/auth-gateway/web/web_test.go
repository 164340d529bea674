package web

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden pages anew")

// each renders every fixture.
func each(t *testing.T, check func(t *testing.T, name string, f Frame, p Page, page string)) {
	t.Helper()
	all := Preview()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Render(&b, all[name].Frame, all[name].Page); err != nil {
				t.Fatal(err)
			}
			check(t, name, all[name].Frame, all[name].Page, b.String())
		})
	}
}

func TestGolden(t *testing.T) {
	seen := map[string]bool{}
	each(t, func(t *testing.T, name string, f Frame, _ Page, page string) {
		// Hashes of the stylesheet, the script and the colours are not what these files are about.
		for _, path := range []string{StaticPath("app.css"), StaticPath("app.js"), BrandPath(f.Brand)} {
			page = strings.ReplaceAll(page, path, "[hashed]")
		}
		file := filepath.Join("testdata", name+".html")
		seen[file] = true
		if *update {
			if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if page != string(want) {
			t.Errorf("%s differs (go test -update writes it anew), first at: %s", file, firstDifference(page, string(want)))
		}
	})
	files, err := filepath.Glob("testdata/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !seen[file] {
			t.Errorf("%s belongs to no fixture", file)
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("the end: %d lines, want %d", len(g), len(w))
}

// node is an element of a rendered page.
type node struct {
	name     string
	attrs    map[string]string
	parent   *node
	children []*node
	text     string // its own and that of all below
}

func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, c := range n.children {
		c.walk(visit)
	}
}

// all are the elements below n with one of the names.
func (n *node) all(names ...string) (found []*node) {
	n.walk(func(c *node) {
		if slices.Contains(names, c.name) {
			found = append(found, c)
		}
	})
	return found
}

// parsePage reads a page strictly: every element is closed, every attribute quoted.
func parsePage(t *testing.T, page string) *node {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(page, "<!doctype html>")))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	root := &node{attrs: map[string]string{}}
	at := root
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			child := &node{name: e.Name.Local, attrs: map[string]string{}, parent: at}
			for _, a := range e.Attr {
				if _, twice := child.attrs[a.Name.Local]; twice {
					t.Errorf("<%s> has %s twice", child.name, a.Name.Local)
				}
				child.attrs[a.Name.Local] = a.Value
			}
			at.children = append(at.children, child)
			at = child
		case xml.EndElement:
			if e.Name.Local != at.name {
				t.Errorf("</%s> closes <%s>", e.Name.Local, at.name)
			}
			at = at.parent
		case xml.CharData:
			for n := at; n != nil; n = n.parent {
				n.text += string(e)
			}
		}
	}
	if at != root {
		t.Errorf("<%s> is never closed", at.name)
	}
	return root
}

func has(n *node, attr string) bool { _, ok := n.attrs[attr]; return ok }

func TestPagesAreSafe(t *testing.T) {
	each(t, func(t *testing.T, _ string, f Frame, _ Page, page string) {
		root := parsePage(t, page)
		root.walk(func(n *node) {
			if n.name == "style" || n.name == "iframe" || n.name == "object" || n.name == "base" {
				t.Errorf("<%s> on the page", n.name)
			}
			if n.name == "script" && (!strings.HasPrefix(n.attrs["src"], "/static/") || strings.TrimSpace(n.text) != "") {
				t.Errorf("a script of its own: %v %q", n.attrs, n.text)
			}
			for attr, value := range n.attrs {
				if attr == "style" || strings.HasPrefix(attr, "on") {
					t.Errorf("<%s %s=%q>", n.name, attr, value)
				}
				if strings.Contains(value, "ZgotmplZ") || strings.HasPrefix(strings.ToLower(value), "javascript:") {
					t.Errorf("<%s %s=%q>", n.name, attr, value)
				}
			}
			if src := n.attrs["src"] + n.attrs["srcset"]; src != "" && !strings.HasPrefix(src, "/") && !strings.HasPrefix(src, "data:image/png;base64,") {
				t.Errorf("<%s> is fetched from elsewhere: %s", n.name, src)
			}
			if n.name == "link" && !strings.HasPrefix(n.attrs["href"], "/") && !strings.HasPrefix(n.attrs["href"], "data:image/svg+xml,") {
				t.Errorf("a link to elsewhere: %s", n.attrs["href"])
			}
		})
		for _, form := range root.all("form") {
			if form.attrs["method"] == "get" && form.attrs["role"] == "search" {
				// A search changes nothing, and its address may be kept: no token belongs into it.
				for _, input := range form.all("input") {
					if input.attrs["name"] == "csrf" || input.attrs["type"] == "password" {
						t.Errorf("a secret in the search at %s", form.attrs["action"])
					}
				}
				continue
			}
			if form.attrs["method"] != "post" || !strings.HasPrefix(form.attrs["action"], "/") || strings.HasPrefix(form.attrs["action"], "//") {
				t.Errorf("form: %v", form.attrs)
			}
			tokens := 0
			for _, input := range form.all("input") {
				if input.attrs["name"] == "csrf" {
					tokens++
					if input.attrs["type"] != "hidden" || input.attrs["value"] != f.CSRF || f.CSRF == "" {
						t.Errorf("csrf: %v", input.attrs)
					}
				}
			}
			if tokens != 1 {
				t.Errorf("form to %s has %d csrf tokens", form.attrs["action"], tokens)
			}
			for _, below := range form.all("form") {
				if below != form {
					t.Errorf("a form in the form to %s", form.attrs["action"])
				}
			}
		}
	})
}

func TestB38PagesAreAccessible(t *testing.T) {
	each(t, func(t *testing.T, _ string, f Frame, _ Page, page string) {
		root := parsePage(t, page)
		ids := map[string]*node{}
		focus := 0
		root.walk(func(n *node) {
			if id, ok := n.attrs["id"]; ok {
				if ids[id] != nil || id == "" {
					t.Errorf("id %q twice", id)
				}
				ids[id] = n
			}
			if has(n, "autofocus") {
				focus++
			}
		})
		if focus > 1 {
			t.Errorf("%d elements want the focus", focus)
		}
		labels := map[string]bool{}
		for _, l := range root.all("label") {
			if ids[l.attrs["for"]] == nil {
				t.Errorf("label %q is for nothing: %q", strings.TrimSpace(l.text), l.attrs["for"])
			}
			labels[l.attrs["for"]] = true
		}
		for _, input := range root.all("input", "select", "textarea") {
			if input.attrs["type"] == "hidden" || has(input, "hidden") {
				continue
			}
			if !labels[input.attrs["id"]] {
				t.Errorf("input without a label: %v", input.attrs)
			}
			if has(input, "required") && input.attrs["data-missing"] == "" {
				t.Errorf("%s is required and does not say so", input.attrs["id"])
			}
			described := strings.Fields(input.attrs["aria-describedby"])
			if has(input, "aria-invalid") && !slices.ContainsFunc(described, func(id string) bool {
				return ids[id] != nil && strings.TrimSpace(ids[id].text) != ""
			}) {
				t.Errorf("%s is invalid, and nothing says why", input.attrs["id"])
			}
		}
		root.walk(func(n *node) {
			for _, attr := range []string{"aria-describedby", "aria-labelledby", "aria-controls", "form"} {
				for _, id := range strings.Fields(n.attrs[attr]) {
					if ids[id] == nil {
						t.Errorf("<%s %s=%q> points to nothing", n.name, attr, id)
					}
				}
			}
			if href := n.attrs["href"]; strings.HasPrefix(href, "#") && ids[href[1:]] == nil {
				t.Errorf("%s leads nowhere", href)
			}
			if (n.name == "button" || n.name == "a" || n.name == "summary") && strings.TrimSpace(n.text) == "" && n.attrs["aria-label"] == "" && len(n.all("img")) == 0 {
				t.Errorf("<%s> says nothing: %v", n.name, n.attrs)
			}
			if n.name == "img" && !has(n, "alt") {
				t.Errorf("an image says nothing: %v", n.attrs)
			}
		})
		for name, want := range map[string]int{"h1": 1, "main": 1, "header": 1, "footer": 1, "title": 1} {
			if got := len(root.all(name)); got != want {
				t.Errorf("%d <%s>, want %d", got, name, want)
			}
		}
		title := root.all("title")[0].text
		invalid := slices.ContainsFunc(root.all("input"), func(n *node) bool { return has(n, "aria-invalid") })
		if invalid && !strings.HasPrefix(title, "Error: ") {
			t.Errorf("the title does not say that there is an error: %s", title)
		}
		if !strings.HasSuffix(title, " – "+f.Brand.Name) {
			t.Errorf("the title does not name the portal: %s", title)
		}
		if lang := root.all("html")[0].attrs["lang"]; lang != "en" {
			t.Errorf("lang %q", lang)
		}
	})
}

// Every page shows the portal's own name, and whom to ask.
func TestB34Brand(t *testing.T) {
	each(t, func(t *testing.T, _ string, f Frame, _ Page, page string) {
		text := parsePage(t, page).text
		for _, want := range []string{f.Brand.SupportEmail, f.Brand.HelpText} {
			if !strings.Contains(text, want) {
				t.Errorf("the page does not show %q", want)
			}
		}
		if f.Brand.LogoURL == "" && !strings.Contains(text, f.Brand.Name) {
			t.Errorf("the page does not show %q", f.Brand.Name)
		}
	})
}

// What each behaviour must say, in the state of a fixture.
func TestWords(t *testing.T) {
	said := map[string]string{}
	each(t, func(_ *testing.T, name string, _ Frame, _ Page, page string) {
		said[name] = strings.Join(strings.Fields(parsePage(t, page).all("body")[0].text), " ")
	})
	for _, c := range []struct{ story, fixture, want string }{
		{"B34", "sign-in-missing", "Please enter valid email"},
		{"B34", "sign-in-missing", "Please enter password"},
		{"B34", "sign-in", "Request account"},
		{"B34", "sign-in", "Reset login or password"},
		{"B34", "sign-in-wrong", "That email and password do not match."},
		{"B12", "enroll-welcome-totp", "Set up"},
		{"B12", "done", "Congratulations, that's it"},
		{"B03", "enroll-welcome-sms", "Skip for now"},
		{"B14", "enroll-totp", "Show secret key"},
		{"B14", "enroll-totp", "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP"},
		{"B16", "enroll-totp", "Need help?"},
		{"B16", "enroll-phone", "Need help?"},
		{"B16", "enroll-welcome-sms", "Need help?"},
		{"B16", "code-sms-confirm", "Need help?"},
		{"B16", "enroll-totp-clock", "Your phone's clock is 7 minutes behind. Turn on automatic date and time"},
		{"B16", "code-totp-clock", "Your phone's clock is 95 seconds ahead."},
		{"B17", "code-totp", "Your login is protected with an authenticator app."},
		{"B20", "code-sms-confirm", "An authentication code has been sent to +1 701 555 9443"},
		{"B21", "sign-in-relogin", "Your number is confirmed. Sign in once more, with a new code."},
		{"B22", "account-contact", "Enable 2FA SMS"},
		{"B22", "enable-sms", "No thanks"},
		{"B23", "code-sms-sent", "Message sent to xxx-xxx-9443"},
		{"B23", "code-sms-queued", "Message sent to xxx-xxx-9443"},
		{"B24", "code-sms-sent", "Resend (11s)"},
		{"B25", "code-sms-sent", "Phone number incorrect or needs to be updated?"},
		{"B25", "help-sms", "Reset two-factor"},
		{"B26", "code-sms-failed", "Your carrier refuses this number."},
		{"B26", "code-sms-failed", "Try again"},
		{"B26", "code-sms-paused", "Texts are paused just now. Yours is waiting. You can also choose another way below."},
		{"B26", "code-sms-paused", "Not sent to xxx-xxx-9443"},
		{"B26", "step-up-paused", "Texts are paused just now. Yours is waiting."},
		{"B26", "code-sms-stopped", "Texts to this country are stopped for now. Please choose another way below."},
		{"B26", "code-sms-unsendable", "We could not send it. It is our fault, not yours. Try again, or choose another way below."},
		{"B26", "code-sms-reason", "Carrier: unknown handset (21)."},
		{"rule 8", "code-totp-wrong", "That code is not right. 1 try left."},
		{"rule 8", "code-totp-locked", "Too many wrong codes. Try again at 10:02 UTC (in 30 seconds)"},
		{"rule 8", "recover-locked", "(in 16 minutes)"},
		{"B30", "recovery-codes", "D4ZP-6CYG-9SFN-7LTK"},
		{"B30", "recovery-codes", "Your earlier codes no longer work."},
		{"B31", "recover", "It also replaces your authenticator app"},
		{"B18", "remove-totp", "From then on your password alone opens your account."},
		{"B18", "enroll-totp-replace", "The app you have now works until the new one is on."},
		{"B18", "account-refused", "Your portal requires a second factor, so it cannot be removed. You can replace it."},
		{"B29", "enroll-welcome-reset", "An administrator reset your two-factor sign-in on"},
		{"B29", "account-reset", "The operator of your portal reset your two-factor sign-in on"},
		{"B33", "enroll-welcome-recovered", "Your recovery code is used up. 2 recovery codes left."},
		{"B33", "done-few", "2 recovery codes left."},
		{"B33", "account-few", "Only 2 codes are left."},
		{"B33", "account-asked", "None is left."},
		{"B06", "console-not-yours", "You can ask: Ada Moreau"},
		{"B06", "console-not-yours-settings", "belongs to the portal's Master Admins"},
		{"B08", "console-settings-first", "whoever asks others for a second factor must have one"},
		{"B10", "console-preview", "1,201 enrol at next sign-in"},
		{"B10", "console-preview", "5,012 have skipped"},
		{"B10", "console-settings-stale", "Somebody else saved first."},
		{"B28", "console-person", "Reset two-factor"},
		{"B28", "console-person-self", "Another admin does that."},
		{"B29", "console-confirm-reset", "a saved skip stop counting at once"},
		{"B29", "console-confirm-reset", "They are signed out everywhere."},
		{"B29", "console-confirm-reset-missing", "Please say why"},
		{"B32", "console-confirm-disable", "The portal would have no reachable Master Admin."},
		{"B35", "console-people", "Authenticator app since 12 Dec 2025"},
		{"B35", "console-people", "Locked until 10:02 UTC"},
		{"B35", "console-people", "Never"},
		{"B35", "console-people-organization", "Skipped"},
		{"B39", "console-audit", "Dana Reyes reset the second factor of Ines Duarte."},
		{"B39", "console-audit", "Internal users: Off → Required"},
		{"B39", "console-audit", "Operator root broke the glass for Dana Reyes"},
	} {
		if !strings.Contains(said[c.fixture], c.want) {
			t.Errorf("%s: %s does not say %q:\n%s", c.story, c.fixture, c.want, said[c.fixture])
		}
	}
	for _, c := range []struct{ story, fixture, never string }{
		{"B03", "enroll-welcome-totp", "Skip for now"},
		{"B33", "account", "Only"},
		{"B25", "help-sms", "Skip for now"},
		{"B16", "code-totp-locked", "That code is not right."},
		{"B28", "console-overview-organization", "Two-factor settings"},
		{"B28", "console-person-contact", "Delete"},
	} {
		if strings.Contains(said[c.fixture], c.never) {
			t.Errorf("%s: %s says %q", c.story, c.fixture, c.never)
		}
	}
}

// What people type comes back as text, whatever it is.
func TestNothingIsInterpreted(t *testing.T) {
	evil := `"><script>alert(1)</script><b x='`
	for _, p := range []Page{
		SignIn{Email: evil, Return: evil, Error: Text(evil), Notice: Text(evil)},
		EnrollTOTP{Key: evil, Label: evil, URI: "javascript:alert(1)//" + evil, Action: evil, Error: Text(evil)},
		EnrollPhone{Phone: evil, Error: Text(evil)},
		Code{Factor: SMS, Destination: evil, Delivery: Failed, DeliveryText: Text(evil), Label: evil},
		Code{Factor: TOTP, Label: evil},
		Done{Next: "javascript:alert(1)"},
		Account{Notice: Text(evil), Credentials: []Credential{{Factor: TOTP, Label: evil, Destination: evil, CanRename: true}}, Methods: []Method{Method(evil)}},
		RecoveryCodes{Codes: []string{evil}, Email: evil},
		StepUp{Action: evil, Carry: []Field{{evil, evil}}, Cancel: "javascript:alert(1)"},
		NotYours{Text: Text(evil), Admins: []string{evil}, Back: "javascript:alert(1)"},
		Overview{Tasks: []Task{{Text: Text(evil), URL: "javascript:alert(1)"}}},
		People{Audience: Audience(evil), Organization: evil, Query: evil, Next: evil, Cursor: evil, CanAdd: true, Items: []PersonRow{{ID: evil, Name: evil, Email: evil, Organization: evil}}},
		Organizations{Query: evil, Items: []OrganizationRow{{Name: evil}}},
		PersonPage{
			Person: PersonRow{ID: evil, Name: evil, Email: evil, Organization: evil}, Label: evil, Destination: evil, Reset: Deed{WhyNot: Text(evil)},
			Sessions: []SessionRow{{Device: evil}}, History: []AuditRow{{Action: evil, Actor: Named{ID: evil, Name: evil}, Person: Named{Name: evil}, Reason: evil}},
		},
		PersonForm{ID: evil, Known: evil, Name: evil, Email: evil, Refused: Text(evil), NameError: Text(evil)},
		Confirm{Ask: AskDelete, ID: evil, Name: evil, Email: evil, Reason: evil, Typed: evil, Refused: Text(evil)},
		PasswordLink{ID: evil, Name: evil, URL: evil},
		SettingsPreview{Warnings: []Text{Text(evil)}, Policy: Policy{Internal: Mode(evil)}, Refused: Text(evil)},
		BrandingForm{Brand: Brand{Name: evil, Accent: evil, HelpText: evil}, LogoSize: 1, LogoError: Text(evil)},
		Deliveries{Filter: Filter{Typed: evil}, Items: []DeliveryRow{{Person: Named{ID: evil, Name: evil}, Destination: evil, Purpose: Text(evil), MessageID: evil}}},
		Audit{Filter: Filter{Typed: evil, Action: evil}, Items: []AuditRow{{Action: "user_changed", Actor: Named{Name: evil}, Person: Named{ID: "x", Name: evil}, Detail: map[string]string{"email": evil}}}},
		Error{Title: Text(evil), Text: Text(evil), Code: evil, RequestID: evil, OnwardURL: "javascript:alert(1)", OnwardText: Text(evil)},
	} {
		f := Frame{Brand: Brand{Name: evil, Initial: evil, LogoURL: "", Accent: "red;}" + evil, SupportEmail: evil, SupportURL: "javascript:alert(1)", HelpText: evil}, CSRF: evil, User: &Person{Name: evil, Email: evil}}
		var b bytes.Buffer
		if err := Render(&b, f, p); err != nil {
			t.Errorf("%s: %v", p.page(), err)
			continue
		}
		parsePage(t, b.String()).walk(func(n *node) {
			if n.name == "script" && n.attrs["src"] == "" || has(n, "x") {
				t.Errorf("%s: what was typed became <%s %v>", p.page(), n.name, n.attrs)
			}
			if strings.HasPrefix(n.attrs["href"], "javascript:") {
				t.Errorf("%s: a link runs a script", p.page())
			}
		})
	}
}

func TestNoHalfPages(t *testing.T) {
	var b bytes.Buffer
	if err := Render(&b, Frame{}, broken{}); err == nil || b.Len() > 0 {
		t.Errorf("err %v, and %d bytes were written", err, b.Len())
	}
}

type broken struct{}

func (broken) page() string { return "code" } // which finds none of its fields

func TestUnknownLanguageIsEnglish(t *testing.T) {
	var b bytes.Buffer
	if err := Render(&b, Frame{Lang: `xx" onload="`}, SignOut{}); err != nil || !strings.Contains(b.String(), `<html lang="en">`) {
		t.Errorf("%v: %.80s", err, b.String())
	}
}

// Pages that hold a secret do not show it to whoever prints them.
func TestI8SecretsAreNotPrinted(t *testing.T) {
	for _, p := range []Page{EnrollTOTP{Key: "JBSWY3DPEHPK3PXP", URI: "JBSWY3DPEHPK3PXP"}, PasswordLink{URL: "JBSWY3DPEHPK3PXP"}, RecoveryCodes{Codes: []string{"JBSWY3DPEHPK3PXP"}}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if s := fmt.Sprintf(format, p); strings.Contains(s, "JBSW") || strings.Contains(s, "4a425357") {
				t.Errorf("%s prints %s", format, s)
			}
			if s := fmt.Sprintf(format, struct{ Page }{p}); strings.Contains(s, "JBSW") {
				t.Errorf("%s prints %s", format, s)
			}
		}
	}
}

func TestErrorForHasWordsForEveryStatus(t *testing.T) {
	for status := 400; status < 600; status++ {
		e := ErrorFor(status, "code", "id", 0)
		for _, text := range []Text{e.Title, e.Text, e.OnwardText} {
			if Say("en", text) == string(text) {
				t.Errorf("%d: no words for %q", status, text)
			}
		}
		if e.OnwardURL == "" {
			t.Errorf("%d leads nowhere", status)
		}
	}
}

func TestSpan(t *testing.T) {
	c := textsOf("en")
	up := functions(c)["span"].(func(time.Duration) string)
	for d, want := range map[time.Duration]string{
		0: "1 second", 400 * time.Millisecond: "1 second", time.Second: "1 second", 29*time.Second + 1: "30 seconds", 119 * time.Second: "119 seconds",
		2 * time.Minute: "2 minutes", 2*time.Minute + 1: "3 minutes", 90 * time.Minute: "90 minutes", 2 * time.Hour: "2 hours", 49 * time.Hour: "3 days",
	} {
		if got := up(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestGroups(t *testing.T) {
	for key, want := range map[string]string{"": "", "ABC": "ABC", "ABCD": "ABCD", "ABCDE": "ABCD E", "AB CD EFGH": "ABCD EFGH"} {
		if got := groups(key); got != want {
			t.Errorf("groups(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestStatic(t *testing.T) {
	for _, name := range []string{"app.css", "app.js"} {
		url := StaticPath(name)
		body, kind, ok := StaticFile(url)
		if !ok || len(body) == 0 || kind == "" {
			t.Errorf("%s: %q, %v", url, kind, ok)
		}
		again, _, ok := StaticFile(strings.TrimPrefix(url, "/static/"))
		if !ok || !bytes.Equal(body, again) {
			t.Errorf("%s without its folder is another file", url)
		}
	}
	for _, name := range []string{"", "app.css", "/static/", "/static/app.css", "../web.go", "app.000000000000.css"} {
		if _, _, ok := StaticFile(name); ok {
			t.Errorf("%q is served", name)
		}
	}
	if StaticPath("missing.css") != "" {
		t.Error("a missing file has a URL")
	}
	css, err := os.ReadFile("static/app.css")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(css, []byte("\n")); n > 400 {
		t.Errorf("the stylesheet has %d lines; 400 are enough", n)
	}
}

func BenchmarkRender(b *testing.B) {
	f := Preview()["code-sms-queued"]
	for b.Loop() {
		if err := Render(io.Discard, f.Frame, f.Page); err != nil {
			b.Fatal(err)
		}
	}
}
