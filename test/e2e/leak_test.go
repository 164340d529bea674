package e2e

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// TestNothingSecretIsLeftBehind lives through every story with the most talkative log, and then looks for what must
// not be in it, nor in metrics, the bus's files, the store's files, or pages: seeds, codes, recovery codes, passwords,
// tokens and telephone numbers.
func TestNothingSecretIsLeftBehind(t *testing.T) {
	t.Parallel()
	p := demo(t, map[string]string{"LOG_LEVEL": "DEBUG"})
	secrets := map[string]string{} // by what it is; the value must be nowhere
	add := func(what, value string) {
		t.Helper()
		if len(value) < 6 {
			t.Fatalf("%s is too short to look for: %q", what, value)
		}
		secrets[what] = value
	}
	token := func(what, value string) {
		t.Helper()
		add(what, value)
		add("the secret part of "+what, value[strings.LastIndex(value, "_")+1:])
	}

	// Authenticator: wrong and right codes, step-up, recovery codes, recovery, another key.
	s := p.BeginSignIn(admin)
	token("the token of an enrolling sign-in", s.Token)
	e := enrolment(t, p, s)
	key(t, add, "the first key", e.Key)
	wrong := sut.WrongCode(t, e.Key, p.Now())
	p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(wrong))
	c := p.Code(e.Key)
	add("the code that confirmed", c)
	done := sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(c)))
	session := done.Session.Token
	token("the token of the first session", session)
	s = p.BeginSignIn(admin)
	c = p.Code(e.Key)
	add("the code of a sign-in", c)
	token("the token of the second session", p.Verify(s, c).Session.Token)
	c = p.Code(e.Key)
	add("the code of a step-up", c)
	sut.Expect(t, p.Do("POST", "/v1/session/step-up", session, map[string]string{"password": sut.DemoPassword, "code": c}), 204, "")
	type codes struct {
		Codes []string `json:"codes"`
	}
	for n, r := range sut.Want[codes](t, 200, p.Do("POST", "/v1/account/recovery-codes", session, nil)).Codes {
		add("recovery code "+string(rune('0'+n)), r)
		add("recovery code without dashes "+string(rune('0'+n)), strings.ReplaceAll(r, "-", ""))
	}
	s = p.BeginSignIn(admin)
	p.Do("POST", s.Path("/recover"), s.Token, map[string]string{"recovery_code": "ZZZZ-1111-ZZZZ-2222"})
	add("a recovery code that is none", "ZZZZ-1111-ZZZZ-2222")
	sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/recover"), s.Token, map[string]string{"recovery_code": secrets["recovery code 0"]}))
	e = enrolment(t, p, s)
	key(t, add, "the second key", e.Key)
	done = sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(p.Code(e.Key))))
	session = done.Session.Token

	const phoneOfNoExample = "+17015558261" // stands nowhere in the descriptions
	// Text messages: a refused number, a number, its codes, a fault whose text repeats the number.
	s = p.BeginSignIn(clerk)
	p.Do("POST", s.Path("/enrollment"), s.Token, phone("+4915123456789"))
	add("a number that was refused", "15123456789")
	p.Faults("invalid", 1)
	p.Do("POST", s.Path("/enrollment"), s.Token, phone("+1 (701) 555-8261"))
	for _, spelling := range []string{phoneOfNoExample, phoneOfNoExample[2:], "(701) 555-8261", "701-555-8261", "701 555 8261"} {
		add("a number as "+spelling, spelling)
	}
	failed := s
	sut.Eventually(t, 15e9, "the first message fails", func() bool { return look(t, p, failed).Delivery == "failed" })
	p.Advance(31e9)
	sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/resend"), s.Token, nil))
	c = p.LastCode(phoneOfNoExample)
	add("the code that confirmed a number", c)
	sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(c)))
	seen := len(p.Messages(phoneOfNoExample))
	s = p.BeginSignIn(clerk)
	c = p.CodeAfter(phoneOfNoExample, seen)
	add("a texted code", c)
	texted := p.Verify(s, c).Session.Token
	token("the token of a contact's session", texted)
	p.BeginSignIn(clerk) // one more code that is never typed
	unused := p.CodeAfter(phoneOfNoExample, seen+1)
	add("a texted code that is not used", unused)

	// Passwords: wrong ones, and what does not fit.
	add("a wrong password", "Tr0ub4dor&3-wrong")
	p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": admin, "password": "Tr0ub4dor&3-wrong"})
	p.Do("POST", "/v1/sign-ins", "", sut.Raw{Type: "application/json", Body: `{"email":"` + admin + `","password":["Tr0ub4dor&3-wrong"]}`})
	p.Do("POST", "/v1/session/step-up", session, map[string]string{"password": "Tr0ub4dor&3-wrong", "code": "123123"})

	// Pages of somebody who has it all behind them.
	v := newVisitor(t, p)
	v.signIn(agent)
	key(t, add, "a key of the pages", v.setUp(p))
	pages := map[string]string{}
	for _, path := range []string{"/account", "/sign-in/enroll/totp", "/sign-in/done", "/sign-in", "/docs"} {
		pages[path] = v.get(path).body
	}
	pages["/v1/account"] = string(p.Do("GET", "/v1/account", session, nil).Body)
	pages["/v1/account of a contact"] = string(p.Do("GET", "/v1/account", texted, nil).Body)
	metrics := p.Metrics()
	p.Stop() // everything is on disk now

	places := map[string]string{"/metrics": metrics}
	for path, body := range pages {
		places["page "+path] = body
	}
	places["the log"] = p.Output()
	if len(p.Output()) < 1000 {
		t.Fatalf("the log says next to nothing: %q", p.Output())
	}
	files := 0
	if err := filepath.WalkDir(p.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path, filepath.Join(p.Data, "keys")) {
			return err
		}
		raw, err := os.ReadFile(path)
		places["file "+strings.TrimPrefix(path, p.Data)] = string(raw)
		files++
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Fatalf("only %d files of data were found", files)
	}
	// That the hunt finds what is there: an address stands in the store.
	if found := hunt(places, admin); len(found) == 0 {
		t.Fatal("the hunt does not even find an e-mail address in the store")
	}
	for what, value := range secrets {
		for _, place := range hunt(places, value) {
			t.Errorf("%s stands in %s", what, place)
		}
	}
	// The demo's password is announced, on purpose; it stands nowhere else.
	delete(places, "the log")
	for _, place := range hunt(places, sut.DemoPassword) {
		t.Errorf("the demo's password stands in %s", place)
	}
	if n := strings.Count(p.Output(), sut.DemoPassword); n != 1 {
		t.Errorf("the demo's password stands in the output %d times; it is announced once", n)
	}
	// Files that hold secrets are nobody else's.
	for _, dir := range []string{"", "keys"} {
		mode(t, filepath.Join(p.Data, dir), 0o700)
	}
	for _, name := range sut.Services {
		mode(t, filepath.Join(p.Data, "keys", name+".json"), 0o600)
	}
}

// key adds a key in each way in which it could be written down.
func key(t *testing.T, add func(what, value string), what, b32 string) {
	t.Helper()
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(b32)
	if err != nil {
		t.Fatal(err)
	}
	add(what, b32)
	add(what+", in small letters", strings.ToLower(b32))
	add(what+", as bytes", string(raw))
	add(what+", in hexadecimal", hex.EncodeToString(raw))
	add(what+", in base64", strings.TrimRight(base64.StdEncoding.EncodeToString(raw), "="))
	add(what+", in groups", regexp.MustCompile(`.{4}`).ReplaceAllString(b32, "$0 ")[:38])
}

var onlyDigits = regexp.MustCompile(`^[0-9]{6}$`)

// hunt lists the places in which a value stands. Six digits count only where they are no part of a longer number.
func hunt(places map[string]string, value string) []string {
	var found []string
	stands := strings.Contains
	if onlyDigits.MatchString(value) {
		whole := regexp.MustCompile(`(?:^|[^0-9.])` + value + `(?:[^0-9Z]|$)`)
		stands = func(text, _ string) bool { return whole.MatchString(text) }
	}
	for place, text := range places {
		if stands(text, value) {
			found = append(found, place)
		}
	}
	return found
}

// mode fails the test unless a file or directory has these permissions.
func mode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Error(err)
	} else if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %o, want %o", path, got, want)
	}
}
