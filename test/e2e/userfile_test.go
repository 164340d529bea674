package e2e

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/bcrypt"

	"sallyport/test/sut"
)

// The people of these tests: their password there and here.
const theirPassword = "grey herons at low tide"

// theirKey is the authenticator key of an imported person.
const theirKey = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// bcryptOf is the password as an older system keeps it.
func bcryptOf(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(theirPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// pbkdf2Of is the same in another form.
func pbkdf2Of(t *testing.T) string {
	t.Helper()
	salt := []byte("sixteen bytes of")
	sum, err := pbkdf2.Key(sha256.New, theirPassword, salt, 1200, 32)
	if err != nil {
		t.Fatal(err)
	}
	return "$pbkdf2-sha256$1200$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(sum)
}

// fileOf writes a file of lines.
func fileOf(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "people")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// outcome is what `sallyport user import --json` prints.
type outcome struct {
	Created, Updated, Unchanged int
	LeftAlone                   int `json:"left_alone"`
	Authenticators, Phones      int
	FactorsKept                 int `json:"factors_kept"`
	Bad                         int
}

func imported(t *testing.T, p *sut.Product, portal, file string, args ...string) outcome {
	t.Helper()
	var out outcome
	c := p.Operate(0, append([]string{"user", "import", "--json", "--portal=" + portal, file}, args...)...)
	if err := json.Unmarshal([]byte(c.Stdout()), &out); err != nil {
		t.Fatalf("%v\n%s", err, c.Output())
	}
	return out
}

// spent moves the clock past the steps that count as spent after an import.
func spent(p *sut.Product) { p.Advance(90 * time.Second) }

// TestB40ImportedPeopleSignIn: who is moved in signs in with the password and the second factor that they had, while the
// services run, and is on every list at once.
func TestB40ImportedPeopleSignIn(t *testing.T) {
	t.Parallel()
	const number = "+17015550177"
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	file := fileOf(t,
		`{"id":"crm-1","email":"Ada@north.test","name":"Ada Moreau","audience":"internal","password":"`+bcryptOf(t)+`","totp":"otpauth://totp/Old:ada?secret=`+theirKey+`&issuer=Old","totp_label":"Pixel 9","enrolled_since":"2024-05-17T08:30:00Z"}`,
		`{"email":"cleo@initech.test","name":"Cleo Lange","audience":"organization","organization":"Initech","organization_admin":true,"password":"`+pbkdf2Of(t)+`","phone":"(701) 555-0177","phone_region":"US"}`,
		`{"email":"bo@north.test","name":"Bo Ek","audience":"internal"}`,
		`{"email":"eve@north.test","name":"Eve Roth","audience":"internal","disabled":true,"password":"`+bcryptOf(t)+`"}`,
	)
	if said := p.Operate(0, "user", "import", "--portal=demo", "--dry-run", file).Stdout(); !strings.Contains(said, "4 accounts would be made") || !strings.Contains(said, "1 authenticator and 1 number would be moved in") {
		t.Errorf("the dry run says: %s", said)
	}
	sut.Expect(t, begin(p, "ada@north.test", theirPassword), http.StatusUnauthorized, "invalid_credentials")
	if got, want := imported(t, p, "demo", file, "--reason=the merger"), (outcome{Created: 4, Authenticators: 1, Phones: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}

	// The next sign-in is a challenge, and codes that the old system may have taken are spent.
	s := sut.Want[sut.SignIn](t, http.StatusCreated, begin(p, "ada@north.test", theirPassword))
	stands(t, s, "challenge")
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(sut.CodeAt(t, theirKey, p.Now()))), http.StatusUnprocessableEntity, "invalid_code")
	spent(p)
	done := p.Verify(s, p.Code(theirKey))
	stands(t, done, "complete")
	account := sut.Want[struct {
		Factors []struct {
			Factor, Label string
			Since         time.Time
		}
	}](t, http.StatusOK, p.Do("GET", "/v1/account", done.Session.Token, nil))
	if len(account.Factors) != 1 || account.Factors[0].Factor != "totp" || account.Factors[0].Label != "Pixel 9" || !account.Factors[0].Since.Equal(time.Date(2024, 5, 17, 8, 30, 0, 0, time.UTC)) {
		t.Errorf("her account page: %+v", account)
	}
	seen := len(p.Messages(number))
	s = sut.Want[sut.SignIn](t, http.StatusCreated, begin(p, "cleo@initech.test", theirPassword))
	stands(t, s, "challenge")
	if s.Factor != "sms" || s.Destination != "xxx-xxx-0177" {
		t.Errorf("%+v", s)
	}
	stands(t, p.Verify(s, p.CodeAfter(number, seen)), "complete")
	for _, email := range []string{"bo@north.test", "eve@north.test"} {
		sut.Expect(t, begin(p, email, theirPassword), http.StatusUnauthorized, "invalid_credentials")
	}

	// Hashes of other forms are ours after the first sign-in, and open the same door.
	spent(p)
	stands(t, sut.Want[sut.SignIn](t, http.StatusCreated, begin(p, "ada@north.test", theirPassword)), "challenge")
	sut.Expect(t, begin(p, "ada@north.test", theirPassword+"x"), http.StatusUnauthorized, "invalid_credentials")
	said := p.Operate(0, "user", "hashes", "--portal=demo").Stdout()
	if !strings.Contains(said, "pbkdf2-sha256-1200-32  none any more") || !strings.Contains(said, "bcrypt-4               1") {
		t.Errorf("the hashes that are left: %s", said)
	}

	// Lists and the audit log know them.
	list := sut.Want[struct {
		Items []struct {
			ID, Email, Standing string
			Organization        string
		}
	}](t, http.StatusOK, p.Do("GET", "/v1/admin/users?query=ada%40north", master, nil))
	if len(list.Items) != 1 || list.Items[0].ID != "crm-1" || list.Items[0].Standing != "enrolled" {
		t.Errorf("the list: %+v", list)
	}
	list = sut.Want[struct {
		Items []struct {
			ID, Email, Standing string
			Organization        string
		}
	}](t, http.StatusOK, p.Do("GET", "/v1/admin/users?organization=Initech", master, nil))
	if len(list.Items) != 1 || list.Items[0].Standing != "enrolled" {
		t.Errorf("the list of a new company: %+v", list)
	}
	for action, want := range map[string]int{"user_created": 4, "enrolment_confirmed": 2} {
		n := 0
		for _, e := range export(t, p, "demo", "--action="+action) {
			actor, _ := e["actor"].(string)
			why, _ := e["reason"].(string)
			if strings.HasPrefix(actor, "operator:") && why == "the merger" {
				n++
			}
		}
		if n != want {
			t.Errorf("%d entries %s by an operator, want %d", n, action, want)
		}
	}

	// The same file again changes nothing, and no file is newer than a reset.
	if got, want := imported(t, p, "demo", file), (outcome{Unchanged: 4}); got != want {
		t.Errorf("again: %+v, want %+v", got, want)
	}
	if got, want := imported(t, p, "demo", file, "--update"), (outcome{Unchanged: 4, FactorsKept: 2}); got != want {
		t.Errorf("again, to update: %+v, want %+v", got, want)
	}
	p.StepUp(master, key)
	sut.Expect(t, p.Do("POST", "/v1/admin/users/crm-1/reset-second-factor", master, map[string]string{"reason": "phone stolen"}), http.StatusNoContent, "")
	if got, want := imported(t, p, "demo", file, "--update"), (outcome{Unchanged: 4, FactorsKept: 2}); got != want {
		t.Errorf("after a reset: %+v, want %+v", got, want)
	}
	stands(t, sut.Want[sut.SignIn](t, http.StatusCreated, begin(p, "ada@north.test", theirPassword)), "enroll")
	p.Operate(0, "audit", "verify")
	for _, secret := range []string{theirKey, bcryptOf(t)[:7], "5550177"} {
		if strings.Contains(p.Output(), secret) {
			t.Errorf("the log of the product has %.4s…", secret)
		}
	}
}

// TestB40ImportNamesEveryBadLine: nothing is imported as long as a line is bad, unless the bad ones have a place to go.
func TestB40ImportNamesEveryBadLine(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	good := `{"email":"ada@north.test","name":"Ada Moreau","audience":"internal"}`
	lines := []string{
		good,
		`{"email":"x","name":"X","audience":"internal"}`,
		`{"email":"root@north.test","name":"Root","audience":"internal","master_admin":true}`,
		`{"email":"ADA@north.test","name":"Ada Again","audience":"internal"}`,
		`{"email":"h@north.test","name":"H","audience":"internal","password":"hunter2"}`,
		`{"email":"k@north.test","name":"K","audience":"internal","totp":"otpauth://totp/x?secret=` + theirKey + `&algorithm=SHA256"}`,
		`{"email":"l@acme.test","name":"L","audience":"organization","organization":"Acme","phone":"+49 30 1234567"}`,
		`{"email":"m@north.test","name":"M","audience":"internal","nick":"m"}`,
		`{"email":"n@north.test","name":"N","name":"N","audience":"internal"}`,
		`not json`,
	}
	file := fileOf(t, lines...)
	c := p.Operate(1, "user", "import", "--portal=demo", file)
	for n, said := range map[int]string{
		2: "email: invalid", 3: "master_admin: needs_permission", 4: "email: twice", 5: "password: hash_form", 6: "totp: algorithm",
		7: "phone: phone_kind", 8: "nick: unknown_field", 9: "name: duplicate_field", 10: "-: malformed",
	} {
		if n == 7 {
			said = "phone: " // the reason is that of the page
		}
		if !strings.Contains(c.Stderr(), fmt.Sprintf("line %d: %s", n, said)) {
			t.Errorf("line %d is not said to be %q:\n%s", n, said, c.Stderr())
		}
	}
	if !strings.Contains(c.Stderr(), "nothing is imported, because 9 lines are bad") || strings.Contains(c.Output(), "hunter2") || strings.Contains(c.Output(), theirKey) {
		t.Errorf("it says:\n%s", c.Output())
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if got, want := imported(t, p, "demo", file, "--skip-bad="+bad), (outcome{Created: 1, Bad: 9}); got != want {
		t.Errorf("without the bad ones: %+v, want %+v", got, want)
	}
	raw, err := os.ReadFile(bad)
	if err != nil || string(raw) != strings.Join(lines[1:], "\n")+"\n" {
		t.Errorf("the bad lines: %q, %v", raw, err)
	}
	if info, err := os.Stat(bad); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the bad lines: %v, %v", info.Mode(), err)
	}
	p.Operate(2, "user", "import", "--portal=demo", file, "--skip-bad="+file)
	p.Operate(2, "user", "import", "--portal=demo", filepath.Join(t.TempDir(), "none"))
	p.Operate(1, "user", "import", "--portal=other", file)

	// CSV carries people, and nothing that is secret.
	sheet := fileOf(t, "\ufeffemail,name,audience,organization,organization_admin", `carl@acme.test,"Berg, Carl",organization,ACME,yes`)
	if got, want := imported(t, p, "demo", sheet), (outcome{Created: 1}); got != want {
		t.Errorf("CSV: %+v, want %+v", got, want)
	}
	c = p.Operate(1, "user", "import", "--portal=demo", fileOf(t, "email,name,audience,totp", "a@x.test,A,internal,"+theirKey))
	if !strings.Contains(c.Stderr(), "line 1: totp: secret_in_csv") {
		t.Errorf("a secret in CSV: %s", c.Stderr())
	}
}

// sealed is an age identity of a test: its file, and its recipient.
func sealed(t *testing.T) (identity *age.X25519Identity, path string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(path, []byte("# created: today\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return id, path
}

// TestB40ImportOfAnExportIsTheSamePeople: who is moved from one installation to another has the same id, the same
// password and a factor that works; nothing secret is ever written in clear.
func TestB40ImportOfAnExportIsTheSamePeople(t *testing.T) {
	t.Parallel()
	old := demo(t, nil)
	key, _ := old.EnrolTOTP(agent)
	old.EnrolSMS(clerk, clerkPhone)
	id, identity := sealed(t)

	old.Operate(2, "user", "export", "--portal=demo", "--factors")
	old.Operate(2, "user", "export", "--portal=demo", "--factors", "--recipient=age1nobody")
	clear := old.Operate(0, "user", "export", "--portal=demo").Stdout()
	if n := strings.Count(clear, "\n"); n != 8 || strings.Contains(clear, "argon2") || strings.Contains(clear, "password") || strings.Contains(clear, clerkPhone) || strings.Contains(clear, key) {
		t.Errorf("the export without secrets has %d lines:\n%s", n, clear)
	}
	out := old.Operate(0, "user", "export", "--portal=demo", "--factors", "--recipient="+id.Recipient().String())
	for _, secret := range []string{"demo.test", "argon2", key, clerkPhone} {
		if strings.Contains(out.Output(), secret) {
			t.Errorf("the sealed export shows %q", secret)
		}
	}
	if n := len(export(t, old, "demo", "--action=users_exported")); n != 2 {
		t.Errorf("%d entries users_exported, want 2", n)
	}
	whole := opened(t, out.Stdout(), id)
	if !strings.Contains(whole, `"totp":"`+key+`"`) || !strings.Contains(whole, `"phone":"`+clerkPhone+`"`) {
		t.Error("the export has no factors")
	}
	file := fileOf(t, out.Stdout())

	now := demo(t, nil)
	now.Operate(0, "portal", "create", "--id=north", "--name=North", "--url=https://north.test", "--admin-email=ada@north.test", "--admin-name=Ada Moreau", "--organizations=required")
	now.Stop() // it works while nothing runs
	now.Operate(2, "user", "import", "--portal=north", file)
	_, other := sealed(t)
	now.Operate(2, "user", "import", "--portal=north", file, "--identity="+other)
	// One that was cut off is refused before anything is done.
	raw := out.Stdout()
	now.Operate(1, "user", "import", "--portal=north", fileOf(t, raw[:len(raw)/2]), "--identity="+identity, "--allow-master-admins")
	if got, want := imported(t, now, "north", file, "--identity="+identity, "--allow-master-admins"), (outcome{Created: 8, Authenticators: 1, Phones: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	now.Resume()
	again := opened(t, now.Operate(0, "user", "export", "--portal=north", "--factors", "--recipient="+id.Recipient().String()).Stdout(), id)
	if again = without(again, "ada@north.test"); again != whole {
		t.Errorf("moved out again they are others:\n%s\nthan\n%s", again, whole)
	}

	there := *now
	there.Client = now.At("north.test")
	now.Advance(max(time.Until(old.Now()), 0) + 2*time.Minute)
	s := there.BeginSignIn(agent)
	stands(t, s, "challenge")
	stands(t, there.Verify(s, now.Code(key)), "complete")
	seen := len(now.Messages(clerkPhone))
	s = there.BeginSignIn(clerk)
	stands(t, s, "challenge")
	stands(t, there.Verify(s, now.CodeAfter(clerkPhone, seen)), "complete")
}

// opened is a sealed export in clear.
func opened(t *testing.T, text string, id age.Identity) string {
	t.Helper()
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(text)), id)
	if err != nil {
		t.Fatalf("the export does not open: %v\n%.200s", err, text)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// without is a file without the line of a person.
func without(file, email string) string {
	var out bytes.Buffer
	for line := range strings.Lines(file) {
		if !strings.Contains(line, `"`+email+`"`) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// TestB40ImportGoesOnAfterKill9: killed at any moment, the same command ends at the same people, each once, and nobody
// ever came in without the factor that the file gives them.
func TestB40ImportGoesOnAfterKill9(t *testing.T) {
	t.Parallel()
	const people = 120
	p := demo(t, nil)
	hash := bcryptOf(t)
	var lines []string
	for i := range people {
		lines = append(lines, fmt.Sprintf(`{"email":"p%03d@north.test","name":"Person %d","audience":"internal","password":"%s","totp":"%s"}`, i, i, hash, theirKey))
	}
	file := fileOf(t, lines...)
	args := []string{"user", "import", "--json", "--portal=demo", file, "--data=" + p.Data, "--store=" + p.StoreAddr()}
	whole := func() int {
		out := p.Operate(0, "user", "export", "--portal=demo").Stdout()
		return strings.Count(out, "@north.test")
	}
	kills := 0
	for n := 0; n < people && kills < 4; {
		c := sut.Run(t, "sallyport", map[string]string{"PUBLIC_URL": p.Base}, args...)
		was := n
		sut.Eventually(t, 30*time.Second, "it goes on", func() bool { n = whole(); return n > was })
		c.Kill9()
		kills++
		n = whole()
		// Whoever can sign in by now has the factor, from the first moment. Who was half done cannot yet: which one that is, the
		// kill decides.
		for i := range 3 {
			if a := begin(p, fmt.Sprintf("p%03d@north.test", i), theirPassword); a.Status == http.StatusCreated {
				stands(t, sut.Want[sut.SignIn](t, http.StatusCreated, a), "challenge")
			} else {
				sut.Expect(t, a, http.StatusUnauthorized, "invalid_credentials")
			}
		}
	}
	if got := imported(t, p, "demo", file); got.Created+got.Unchanged != people || got.Bad+got.LeftAlone > 0 {
		t.Errorf("after %d kills: %+v", kills, got)
	}
	if got, want := imported(t, p, "demo", file), (outcome{Unchanged: people}); got != want {
		t.Errorf("again: %+v, want %+v", got, want)
	}
	if n := whole(); n != people {
		t.Errorf("%d people, want %d", n, people)
	}
	for action, want := range map[string]int{"user_created": people, "enrolment_confirmed": people} {
		seen := make(map[any]int)
		for _, e := range export(t, p, "demo", "--action="+action) {
			if actor, _ := e["actor"].(string); strings.HasPrefix(actor, "operator:") {
				seen[e["user"]]++
			}
		}
		if len(seen) != want {
			t.Errorf("%s: entries about %d people, want %d", action, len(seen), want)
		}
	}
	p.Operate(0, "audit", "verify")
}
