package attack

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/bcrypt"

	"sallyport/test/sut"
)

// file writes lines to a file that only the operator reads: no output of the product.
func (r *run) file(lines ...string) (path string) {
	r.t.Helper()
	path = filepath.Join(r.t.TempDir(), "people")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// imports makes what an older system knows of its people: an authenticator's key, and two hashes of a password. The store
// keeps such hashes as they are until the person signs in.
func (r *run) imports(password string) (key, bcrypted, pbkdf string) {
	r.t.Helper()
	key = r.seed()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		r.t.Fatal(err)
	}
	salt := []byte(rand.Text()[:16])
	sum, err := pbkdf2.Key(sha256.New, password, salt, 1200, 32)
	if err != nil {
		r.t.Fatal(err)
	}
	bcrypted, pbkdf = string(hash), "$pbkdf2-sha256$1200$"+base64.RawStdEncoding.EncodeToString(salt)+"$"+base64.RawStdEncoding.EncodeToString(sum)
	r.h.hidesGuessable("an imported password", password)
	for _, hash := range []string{bcrypted, pbkdf} {
		r.h.hides("an imported hash", hash, standsIn("wire of the store"), standsUnder("file of the store"))
		r.h.hides("the end of an imported hash", hash[len(hash)-31:], standsIn("wire of the store"), standsUnder("file of the store"))
	}
	return key, bcrypted, pbkdf
}

// seed is an authenticator's key of another system. It may be shown nowhere.
func (r *run) seed() string {
	var raw [20]byte
	_, _ = rand.Read(raw[:]) // never fails
	key := base32.StdEncoding.EncodeToString(raw[:])
	r.witness.key(key, "no output at all")
	return key
}

// movers: people are moved in from files, good and bad ones, sign in with what they had, and are moved out.
func (r *run) movers() {
	t := r.t
	const password, number, mover = "grey herons at low tide", "+17015558472", "Ada Moreau-Marker"
	key, bcrypted, pbkdf := r.imports(password)
	r.phone(number)
	portal := []string{"user", "import", "--portal=demo"}
	moves := func(status int, args ...string) { r.command(status, append(portal, args...)...) }
	good := r.file(
		`{"id":"crm-1","email":"ada@north.test","name":"`+mover+`","audience":"internal","password":"`+bcrypted+`","totp":"otpauth://totp/Old:ada?secret=`+key+`&issuer=Old","totp_label":"Pixel 9"}`,
		`{"email":"cleo@initech.test","name":"Cleo Lange","audience":"organization","organization":"Initech","password":"`+pbkdf+`","phone":"(701) 555-8472","phone_region":"US"}`,
	)
	moves(0, good, "--dry-run")
	moves(0, good, "--json")
	moves(0, good, "--update")
	r.controls[mover] = []string{"wire of the store", "file of the store", "command ", "answer "}

	clear, other, last := "a password in clear", r.seed(), r.seed()
	r.h.hidesGuessable("a password in a file", clear)
	const dial = "+49 30 90118472"
	r.phone(dial)
	bad := r.file(
		`{"email":"a@north.test","name":"A","audience":"internal","password":"`+clear+`"}`,
		`{"email":"b@north.test","name":"B","audience":"internal","totp":"otpauth://totp/x?secret=`+other+`&algorithm=SHA256"}`,
		`{"email":"c@acme.test","name":"C","audience":"organization","organization":"Acme","phone":"`+dial+`"}`,
		`{"email":"d@north.test","name":"D","audience":"internal","totp":["`+other+`"],"password":"`+clear+`"}`,
		`{"email":"e@north.test","name":"E","audience":"internal","pw":"`+clear+`"}`,
		`{"email":"f@north.test","name":"F","audience":"internal","password":"`+clear+`","password":"`+pbkdf+`"}`,
		`{"email":"`+clear+`","name":"`+last+`\u0000","audience":"`+other+`","enrolled_since":"`+last+`"}`,
		`{"email":"g@north.test","name":"G","audience":"internal","totp":"`+other,
		bcrypted,
	)
	moves(1, bad)
	moves(0, bad, "--json", "--skip-bad="+filepath.Join(t.TempDir(), "bad"))
	moves(1, r.file("email,name,audience,totp,password", "a@x.test,A,internal,"+other+","+clear))
	moves(0, r.file("email,name,audience", `carl@acme.test,"Berg, Carl",internal`))
	for _, headless := range []string{last + ",a@x.test,A,internal", "alice:" + bcrypted, clear, `"` + clear + `" x,` + last} {
		moves(1, r.file(headless, headless))
	}

	s := sut.Want[sut.SignIn](t, http.StatusCreated, r.Do("POST", "/v1/sign-ins", "", map[string]string{"email": "ada@north.test", "password": password}))
	r.Advance(90 * time.Second) // codes that the old system may have taken are spent
	r.Do("GET", "/v1/account", r.Verify(s, r.Code(key)).Session.Token, nil)
	seen := len(r.Messages(number))
	s = sut.Want[sut.SignIn](t, http.StatusCreated, r.Do("POST", "/v1/sign-ins", "", map[string]string{"email": "cleo@initech.test", "password": password}))
	r.Verify(s, r.CodeAfter(number, seen))
	r.Do("GET", "/v1/admin/users?query=ada%40north", r.SignInTOTP("admin@demo.test", r.key), nil)

	// Out again: without secrets, and with them, sealed.
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	r.h.hides("the identity of a recipient", id.String())
	identity := r.file("# created: today", id.String())
	r.command(0, "user", "hashes", "--portal=demo")
	r.command(0, "user", "export", "--portal=demo")
	r.command(2, "user", "export", "--portal=demo", "--factors")
	sealed := r.command(0, "user", "export", "--portal=demo", "--factors", "--recipient="+id.Recipient().String()).Stdout()
	moves(0, r.file(strings.TrimSuffix(sealed, "\n")), "--identity="+identity, "--dry-run", "--allow-master-admins")
	moves(1, r.file(sealed[:len(sealed)/2]), "--identity="+identity, "--allow-master-admins")
	moves(2, good, "--identity="+good) // each in the place of the other
	moves(1, identity)
}

// rotation: keys are looked at, rotated, and taken out too early.
func (r *run) rotation() {
	r.command(0, "keys", "status")
	r.command(0, "keys", "rotate")
	r.keys(4)
	r.command(0, "keys", "status", "--json")
	r.command(1, "keys", "retire")
}

// outage: store and bus go away and come back, with work in hand. What is said of it is answered, logged and shown by the
// listener of operations.
func (r *run) outage() {
	t := r.t
	ops := sut.NewClient(t, r.Ops).Watched(r.sees)
	state := func(status int) {
		t.Helper()
		for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": status} {
			if a := ops.Do("GET", path+"?key="+r.session, "", nil); a.Status != want {
				t.Errorf("%s; want %d", a, want)
			}
		}
		ops.Do("GET", "/metrics?key="+r.session, "", nil)
	}
	state(http.StatusOK)
	session := r.SignInTOTP("admin@demo.test", r.key)
	for _, wire := range []*tap{r.bus, r.store} {
		r.Advance(time.Minute) // a code that was not used
		s := r.BeginSignIn("admin@demo.test")
		wire.cuts(true)
		sut.Eventually(t, 20*time.Second, "a part is missed", func() bool { return !sut.Ready(r.Ops) })
		state(http.StatusServiceUnavailable)
		r.Do("POST", "/v1/sign-ins", "", sut.Credentials("admin@demo.test"))
		r.Do("POST", s.Path("/verify"), s.Token, codeIs(sut.CodeAt(t, r.key, r.Now())))
		r.Do("POST", "/v1/account/recovery-codes", session, nil)
		v := r.reader()
		v.get("/sign-in")
		v.post("/sign-in", url.Values{"email": {"admin@demo.test"}, "password": {sut.DemoPassword}})
		wire.cuts(false)
		sut.Eventually(t, 30*time.Second, "it is there again", func() bool { return sut.Ready(r.Ops) })
	}
	state(http.StatusOK)
	var out struct{ Ready bool }
	if a := ops.Do("GET", "/readyz", "", nil); json.Unmarshal(a.Body, &out) != nil || !out.Ready {
		t.Errorf("after the outage: %s", a)
	}
	r.controls[`"problems":{"`] = []string{"answer "}
}
