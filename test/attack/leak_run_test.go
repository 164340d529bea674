package attack

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"sallyport/test/sut"
)

// keys notes the key material of every service, which has so many keys.
func (r *run) keys(want int) {
	r.t.Helper()
	for _, name := range sut.Services {
		raw, err := os.ReadFile(filepath.Join(r.Data, "keys", name+".json"))
		if err != nil {
			r.t.Fatal(err)
		}
		found := regexp.MustCompile(`"value":\s*"([^"]+)"`).FindAllStringSubmatch(string(raw), -1)
		if len(found) != want {
			r.t.Fatalf("the key file of %s has %d keys, want %d", name, len(found), want)
		}
		for _, m := range found {
			value, err := base64.StdEncoding.DecodeString(m[1])
			if err != nil {
				r.t.Fatal(err)
			}
			r.h.hides("a keyset of "+name, m[1])
			r.h.hides("a key of "+name, string(value[len(value)-32:]))
		}
	}
}

func (r *run) reader() *reader {
	r.t.Helper()
	base, err := url.Parse(r.Base)
	if err != nil {
		r.t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return &reader{tb: r.t, c: r.Client, base: base, jar: jar}
}

func codeIs(c string) map[string]string { return map[string]string{"code": c} }

// authenticators: set up, mistyped, replaced, recovered, by API and on pages.
func (r *run) authenticators() {
	t := r.t
	const admin = "admin@demo.test"
	s := r.BeginSignIn(admin)
	begin := func(path, token string) sut.Enrollment {
		return sut.Want[sut.Enrollment](t, 201, r.Do("POST", path, token, map[string]string{"factor": "totp"}))
	}
	e := begin(s.Path("/enrollment"), s.Token)
	begin(s.Path("/enrollment"), s.Token)
	r.Do("POST", s.Path("/enrollment/confirm"), s.Token, codeIs(anyCode()))
	done := sut.Want[sut.SignIn](t, 200, r.Do("POST", s.Path("/enrollment/confirm"), s.Token, map[string]string{"code": r.Code(e.Key), "label": "Pixel 9"}))
	s = r.BeginSignIn(admin)
	for range 3 {
		r.Do("POST", s.Path("/verify"), s.Token, codeIs(anyCode()))
	}
	r.Do("POST", s.Path("/verify"), s.Token, codeIs(sut.CodeAt(t, e.Key, r.Now().Add(10*time.Minute)))) // a clock that is off
	token := r.Verify(s, r.Code(e.Key)).Session.Token
	r.Do("POST", "/v1/session/step-up", token, map[string]string{"password": "wrong " + sut.DemoPassword, "code": anyCode()})
	r.StepUp(token, e.Key)
	type codes struct{ Codes []string }
	r.Do("POST", "/v1/account/recovery-codes", token, nil)
	all := sut.Want[codes](t, 200, r.Do("POST", "/v1/account/recovery-codes", token, nil))
	next := sut.Want[sut.Enrollment](t, 201, r.Do("POST", "/v1/account/factors/totp", token, nil))
	r.Do("POST", "/v1/account/factors/totp/confirm", token, codeIs(anyCode()))
	sut.Expect(t, r.Do("POST", "/v1/account/factors/totp/confirm", token, codeIs(r.Code(next.Key))), 200, "")
	s = r.BeginSignIn(admin)
	r.Do("POST", s.Path("/recover"), s.Token, map[string]string{"recovery_code": "QZ7K-22MB-XR4T-9WPL"})
	sut.Want[sut.SignIn](t, 200, r.Do("POST", s.Path("/recover"), s.Token, map[string]string{"recovery_code": strings.ToLower(all.Codes[3])}))
	e = begin(s.Path("/enrollment"), s.Token)
	done = sut.Want[sut.SignIn](t, 200, r.Do("POST", s.Path("/enrollment/confirm"), s.Token, codeIs(r.Code(e.Key))))

	// The same on pages, by somebody else.
	v := r.reader()
	v.get("/sign-in")
	v.post("/sign-in", url.Values{"email": {"agent@demo.test"}, "password": {"not " + sut.DemoPassword}})
	v.post("/sign-in", url.Values{"email": {"agent@demo.test"}, "password": {sut.DemoPassword}})
	v.at("/sign-in/enroll")
	v.post("/sign-in/enroll/start", url.Values{})
	key := strings.ReplaceAll(keyOnPage.FindString(v.body), " ", "")
	v.post("/sign-in/enroll/confirm", url.Values{"code": {anyCode()}})
	c := r.Code(key)
	v.post("/sign-in/enroll/confirm", url.Values{"code": {c[:3] + " " + c[3:]}})
	r.h.hidesGuessable("a code typed in two groups", c)
	v.at("/sign-in/done")
	for _, path := range []string{"/account", "/sign-in/enroll/totp", "/docs", "/openapi.json"} {
		v.get(path)
	}
	v.get("/account")
	v.post("/account/recovery-codes", url.Values{})
	if len(codesOnPage.FindAllString(v.body, -1)) != 10 {
		t.Errorf("the page shows no recovery codes:\n%s", v.body)
	}
	v.get("/account/factors/totp")
	v.post("/account/factors/totp", url.Values{})
	v.get("/account")
	v.get("/sign-out")
	v.post("/sign-out", url.Values{})
	r.session, r.key = done.Session.Token, e.Key
}

// anyCode is one that nobody has, and that looks like none of another test's.
func anyCode() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%06d", (uint32(b[0])<<16|uint32(b[1])<<8|uint32(b[2]))%1_000_000)
}

// texts: every way in which sending fails, resends, wrong codes, a reset.
func (r *run) texts() {
	t := r.t
	const clerk, number = "clerk@acme.test", "+17015558261" // a number that stands in no description
	s := r.BeginSignIn(clerk)
	sms := func(phone string) sut.Answer {
		return r.Do("POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "sms", "phone": phone})
	}
	for _, refused := range []string{"+4915123456789", "+1 900 555 7741", "not a number 8675309", "+17015558261ext"} {
		sms(refused)
	}
	settled := func(s sut.SignIn) {
		t.Helper()
		sut.Eventually(t, 30*time.Second, "the text is sent, or not", func() bool {
			now := sut.Want[sut.SignIn](t, 200, r.Do("GET", s.Path(""), s.Token, nil))
			return now.Delivery == "sent" || now.Delivery == "failed" || now.DeliveryPaused
		})
	}
	r.Faults("invalid", 1)
	sut.Want[sut.Enrollment](t, 201, sms("+1 (701) 555-8261"))
	settled(s)
	r.Advance(time.Minute)
	sut.Want[sut.SignIn](t, 200, r.Do("POST", s.Path("/resend"), s.Token, nil))
	c := r.LastCode(number)
	r.Do("POST", s.Path("/enrollment/confirm"), s.Token, codeIs(anyCode()))
	sut.Want[sut.SignIn](t, 200, r.Do("POST", s.Path("/enrollment/confirm"), s.Token, codeIs(c)))
	for _, mode := range []string{"throttle", "error500", "reset", "hang", "accepted_500", "opted_out", "spend_limit", "credentials", "signature"} {
		r.Advance(15 * time.Minute)
		r.Faults(mode, 1)
		s := r.BeginSignIn(clerk)
		settled(s)
		r.Faults("none", 0)
	}
	r.Advance(15 * time.Minute)
	seen := len(r.Messages(number))
	s = r.BeginSignIn(clerk)
	r.CodeAfter(number, seen)
	r.Advance(5 * time.Minute)
	seen = len(r.Messages(number))
	sut.Want[sut.SignIn](t, 200, r.Do("POST", s.Path("/resend"), s.Token, nil))
	c = r.CodeAfter(number, seen)
	r.Do("POST", s.Path("/verify"), s.Token, codeIs(anyCode()))
	contact := r.Verify(s, c)
	r.Do("GET", "/v1/account", contact.Session.Token, nil)

	// The same number on pages, by a colleague, and a text whose code nobody types.
	v := r.reader()
	v.get("/sign-in")
	v.post("/sign-in", url.Values{"email": {"temp@acme.test"}, "password": {sut.DemoPassword}})
	v.post("/sign-in/enroll/start", url.Values{})
	v.post("/sign-in/enroll/phone", url.Values{"phone": {"701.555.826"}})
	v.post("/sign-in/enroll/phone", url.Values{"phone": {"+1-701-555-8347"}})
	r.LastCode("+17015558347")
	v.post("/sign-in/enroll/confirm", url.Values{"code": {anyCode()}})
	for _, path := range []string{"/sign-in/code", "/sign-in/help", "/sign-in/status", "/sign-in/enroll/sms"} {
		v.get(path)
	}

	// What an admin sees of them, and does to them.
	r.session = r.SignInTOTP("admin@demo.test", r.key) // all this took hours
	type people struct{ Items []sut.User }
	for _, u := range sut.Want[people](t, 200, r.Do("GET", "/v1/admin/users?query=clerk", r.session, nil)).Items {
		r.Do("GET", "/v1/admin/users/"+u.ID, r.session, nil)
		sut.Expect(t, r.Do("POST", "/v1/admin/users/"+u.ID+"/reset-second-factor", r.session, map[string]string{"reason": "A new telephone."}), 204, "")
	}
	for _, path := range []string{"/v1/admin/deliveries", "/v1/admin/audit", "/v1/admin/settings"} {
		sut.Expect(t, r.Do("GET", path, r.session, nil), 200, "")
	}
}

// links: a password by a link, and another by a second one.
func (r *run) links() {
	t := r.t
	r.StepUp(r.session, r.key)
	type made struct {
		ID   string
		Link struct{ URL string } `json:"password_link"`
	}
	person := sut.Want[made](t, 201, r.Do("POST", "/v1/admin/users", r.session, map[string]any{"email": "marker@demo.test", "name": marker, "audience": "internal"}))
	visit := func(link string, passwords ...[2]string) {
		v, path := r.reader(), strings.TrimPrefix(link, r.Base)
		v.get(path)
		for _, p := range passwords {
			v.post(path, url.Values{"password": {p[0]}, "again": {p[1]}})
		}
		v.get(path)
	}
	const first, second = "nine violet anchors hum", "ten <b>\"grey\"</b> & 100% ferries ümlaut"
	visit(person.Link.URL, [2]string{first, "nine violet anchors hymn"}, [2]string{"baseball1", "baseball1"}, [2]string{first, first})
	type link struct{ URL string }
	again := sut.Want[link](t, 201, r.Do("POST", "/v1/admin/users/"+person.ID+"/password-link", r.session, map[string]string{"reason": "It was forgotten."}))
	visit(again.URL, [2]string{second, second})
	for _, password := range []string{first, second} {
		r.Do("POST", "/v1/sign-ins", "", map[string]string{"email": "marker@demo.test", "password": password})
	}
	c := r.command(0, "admin", "create", "--portal=demo", "--email=op@demo.test", "--name=Op Erator")
	r.link(regexp.MustCompile(`http://\S+/welcome/\S+`).FindString(c.Stdout()), r.last)
	visit(regexp.MustCompile(`http://\S+/welcome/\S+`).FindString(c.Stdout()))
	c = r.command(0, "admin", "reset", "--portal=demo", "second@demo.test", "--reason=Her phone is lost.")
	r.link(regexp.MustCompile(`http://\S+/welcome/\S+`).FindString(c.Stdout()), r.last)

	// On pages, an admin looks at people and log.
	v := r.reader()
	v.get("/sign-in")
	v.post("/sign-in", url.Values{"email": {"admin@demo.test"}, "password": {sut.DemoPassword}})
	v.post("/sign-in/code", url.Values{"code": {r.Code(r.key)}})
	for _, path := range []string{"/admin", "/admin/users", "/admin/users/" + person.ID, "/admin/deliveries", "/admin/audit", "/admin/audit.csv", "/admin/settings"} {
		v.get(path)
		v.at(path)
	}
	v.get("/admin/users/" + person.ID + "/password-link")
	v.post("/admin/users/"+person.ID+"/password-link", url.Values{"reason": {"And again."}})
	if shown := regexp.MustCompile(`http://[^\s"<]+/welcome/[^\s"<]+`).FindString(v.body); shown != "" {
		r.link(shown, r.last)
	} else {
		t.Errorf("the page shows no link: %s", v.body)
	}
	v.get("/admin/users/" + person.ID)
}

// provider: a portal trusts a provider, which repeats in its refusals all that it was told.
func (r *run) provider() {
	t := r.t
	clientSecret, grant := "cs~"+rand.Text(), "code/"+rand.Text()
	r.h.hides("the client secret", clientSecret)
	r.h.hides("the provider's code", grant)
	var verifier string
	echo := refuser(t, func(w http.ResponseWriter, req *http.Request) {
		verifier = req.PostFormValue("code_verifier")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": clientSecret, "error_description": grant + " " + verifier, "error_uri": "https://x.test/" + clientSecret})
	})
	r.command(0, trusting(t, echo, clientSecret)...)
	r.command(0, "portal", "provider", "list", "--portal=demo")
	v := r.reader()
	var to *url.URL
	sut.Eventually(t, 20*time.Second, "the gateway knows the provider", func() bool {
		v.get("/sign-in/with/echo")
		to = toProvider(echo, v.a)
		return to != nil
	})
	state := to.Query().Get("state") // a name: the browser's cookie proves whose it is
	v.get("/sign-in/callback?" + url.Values{"code": {grant}, "state": {state}}.Encode())
	if verifier == "" {
		t.Fatalf("the provider was not asked for a token: %d\n%s", v.a.Status, v.body)
	}
	r.h.hides("the verifier of a journey", verifier)
	v.get("/sign-in/callback?" + url.Values{"code": {grant}, "state": {state}}.Encode())
}

// slips: secrets where they do not belong, as people and their programs send them.
func (r *run) slips() {
	const slip = "sl!p-of-the-tongue"
	r.h.hides("a password in the wrong place", slip)
	typed := func(body string) sut.Raw { return sut.Raw{Type: "application/json", Body: body} }
	for _, body := range []string{
		`{"email":"admin@demo.test","password":["` + slip + `"]}`, `{"email":"admin@demo.test","password":"` + slip + `"`,
		`{"email":"admin@demo.test","passwort":"` + slip + `"}`, `{"email":"` + slip + `","password":"` + slip + `"}`,
	} {
		r.Do("POST", "/v1/sign-ins", "", typed(body))
	}
	s := r.BeginSignIn("admin@demo.test")
	for _, token := range []string{slip, s.Token + slip, r.session + "x", strings.Replace(r.session, "se_", "si_", 1)} {
		r.Do("GET", "/v1/session", token, nil)
		r.Do("GET", s.Path(""), token, nil)
	}
	r.Do("POST", s.Path("/verify"), s.Token, map[string]any{"code": slip})
	r.Do("POST", s.Path("/verify"), s.Token, map[string]any{"code": 493817})
	r.Do("POST", s.Path("/verify"), s.Token, sut.Raw{Type: "text/plain", Body: slip})
	for _, path := range []string{"/v1/session?access_token=", "/sign-in?password=", "/v1/sign-ins/" + s.ID + "?token=", "/nowhere?key=", "/static/x?y=", "/welcome/", "/sign-in/callback?code=", "/v1/sign-ins/"} {
		r.h.hides("a password in the wrong place, in a URL", url.QueryEscape(slip))
		r.Do("GET", path+url.QueryEscape(slip), r.session, nil)
	}
	{
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.Base+"/account", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		req.Header.Set("Cookie", "sallyport_session="+slip+"; sallyport_sign_in="+slip)
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("admin:"+slip)))
		if _, err := r.Send(req); err != nil {
			r.t.Fatal(err)
		}
	}
}

// operators: what their commands print.
func (r *run) operators() {
	for _, args := range [][]string{
		{"portal", "list"},
		{"portal", "list", "--json"},
		{"audit", "verify"},
		{"audit", "export", "--portal=demo"},
		{"audit", "export", "--portal=demo", "--format=jsonl"},
		{"texts", "status", "--portal=demo"},
		{"unlock", "--portal=demo", "admin@demo.test", "--reason=A typing error."},
		{"doctor", "--json"},
		{"nats-conf"},
		{"dead-letters", "list", "--payload"},
		{"dead-letters", "replay", "--all"},
		{"dead-letters", "drop", "--all"},
	} {
		status := 0
		if args[0] == "doctor" {
			status = -1 // it is not told where everything listens, and says so
		}
		r.command(status, args...)
	}
}

// refusals: services that do not start, because of settings that hold secrets.
func (r *run) refusals() {
	r.t.Helper()
	const databasePassword, busPassword, cloudKey, keyBytes = "mongo~p4ssw0rd", "nats~p4ssw0rd", "awsSecretAccessKey/0123456789", "bm90IGEga2V5IGF0IGFsbA"
	for what, value := range map[string]string{"the password of MongoDB": databasePassword, "the password of NATS": busPassword, "the key of AWS": cloudKey, "bytes of a broken key file": keyBytes} {
		r.h.hides(what, value)
	}
	dir := r.t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte(`{"service":"sms-dispatcher","store":{"key":"`+keyBytes+`"`), 0o600); err != nil {
		r.t.Fatal(err)
	}
	good := map[string]string{
		"NATS_URL": r.env["NATS_URL"], "MONGODB_URI": r.env["MONGODB_URI"], "KEYSET_FILE": filepath.Join(r.Data, "keys", "sms-dispatcher.json"), "SMS_COUNTRIES": "US",
		"OPS_ADDR": "127.0.0.1:0", "START_TIMEOUT": "1s", "LOG_LEVEL": "DEBUG", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": cloudKey,
	}
	for what, wrong := range map[string]map[string]string{
		"a database that is down":     {"MONGODB_URI": "mongodb://app:" + databasePassword + "@127.0.0.1:1/?directConnection=true"},
		"a database that is none":     {"MONGODB_URI": "mangodb://app:" + databasePassword + "@127.0.0.1:1/"},
		"an address cut off":          {"MONGODB_URI": "mongodb://app:" + databasePassword + "%@127.0.0.1"},
		"a bus that is down":          {"NATS_URL": "nats://127.0.0.1:1", "NATS_USER": "sms-dispatcher", "NATS_PASSWORD": busPassword},
		"a password in the address":   {"NATS_URL": "nats://app:" + busPassword + "@127.0.0.1:1"},
		"a broken address of the bus": {"NATS_URL": "nats://app:" + busPassword + "@[::1"},
		"a broken key file":           {"KEYSET_FILE": broken},
		"a token in the address":      {"NATS_URL": "nats://" + busPassword + "@127.0.0.1:1"},
		"settings that are wrong":     {"SMS_LIMIT_PERSON": "often", "SMS_WORKERS": "many"},
	} {
		env := maps.Clone(good)
		maps.Copy(env, wrong)
		c := sut.Run(r.t, "sms-dispatcher", env)
		if c.Exit(time.Minute) == 0 {
			r.t.Errorf("with %s it starts", what)
		}
		r.h.puts("refusal of "+what, false, c.Output())
	}
}

// command runs an operator's command and keeps what it prints, and with which arguments it is seen. Status -1 is any.
func (r *run) command(status int, args ...string) *sut.Process {
	r.t.Helper()
	env := maps.Clone(r.env)
	env["PUBLIC_URL"] = r.Base
	if args[0] != "nats-conf" {
		args = append(args, "--data="+r.Data)
	}
	c := sut.Run(r.t, "sallyport", env, args...)
	if got := c.Exit(time.Minute); status >= 0 && got != status {
		r.t.Fatalf("sallyport %s: status %d, want %d\n%s", strings.Join(args, " "), got, status, c.Output())
	}
	r.commands++
	r.last = fmt.Sprintf("command %d: sallyport %s", r.commands, strings.Join(args[:min(2, len(args))], " "))
	r.h.puts(r.last, false, c.Stdout())
	r.h.puts("errors of "+r.last, false, c.Stderr())
	r.h.puts("arguments of "+r.last, false, strings.Join(args, " "))
	return c
}

// modes fails the test unless what holds keys is nobody else's.
func (r *run) modes() {
	r.t.Helper()
	want := map[string]fs.FileMode{r.Data: 0o700, filepath.Join(r.Data, "keys"): 0o700}
	for _, name := range sut.Services {
		want[filepath.Join(r.Data, "keys", name+".json")] = 0o600
	}
	for path, mode := range want {
		info, err := os.Stat(path)
		if err != nil {
			r.t.Error(err)
		} else if got := info.Mode().Perm(); got != mode {
			r.t.Errorf("%s has mode %o, want %o", path, got, mode)
		}
	}
}

// lastRequest names one request, as the log and the bus know it.
func (r *run) lastRequest() string {
	r.t.Helper()
	for _, line := range strings.Split(r.Output(), "\n") {
		var entry struct {
			Request string `json:"request_id"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && len(entry.Request) > fewest && strings.Contains(r.bus.heard(), entry.Request) {
			return entry.Request
		}
	}
	r.t.Fatal("no request of the log is known to the bus")
	return ""
}
