package e2e

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB12FirstPasswordSignInStartsEnrolment: the password alone opens nothing; one right code completes.
func TestB12FirstPasswordSignInStartsEnrolment(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	s := p.BeginSignIn(agent)
	stands(t, s, "enroll")
	if s.Factor != "totp" || s.CanSkip || s.Token == "" {
		t.Errorf("sign-in of an internal user: factor %q, can_skip %t, token given: %t", s.Factor, s.CanSkip, s.Token != "")
	}
	near(t, "expires_at", s.ExpiresAt, p.Now().Add(10*time.Minute), 30*time.Second)
	sut.Expect(t, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil), 403, "forbidden")
	e := enrolment(t, p, s)
	if again := look(t, p, s); again.Token != "" {
		t.Error("the token of the sign-in is given twice")
	}
	done := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, map[string]string{"code": p.Code(e.Key), "label": "Pixel 9"}))
	stands(t, done, "complete")
	v := who(t, p, done.Session.Token)
	equal(t, "amr", v.AMR, []string{"pwd", "otp"})
	if v.User.Email != agent || v.User.Audience != "internal" || v.User.MasterAdmin {
		t.Errorf("who am I: %+v", v.User)
	}
	near(t, "expires_at of the session", v.ExpiresAt, p.Now().Add(12*time.Hour), 30*time.Second)
	if again := look(t, p, s); again.Session != nil {
		t.Error("the session is given twice")
	}
	sut.Expect(t, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(p.Code(e.Key))), 409, "conflict")
}

// TestB13KeyFollowsTheStandard: the key, the key URI and the QR code say the same, in the form that every app reads.
func TestB13KeyFollowsTheStandard(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	s := p.BeginSignIn(agent)
	e := enrolment(t, p, s)
	u, err := url.Parse(e.OtpauthURI)
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Northwind Portal:"+agent {
		t.Errorf("key URI names %s://%s%s", u.Scheme, u.Host, u.Path)
	}
	for name, want := range map[string]string{"issuer": "Northwind Portal", "algorithm": "SHA1", "digits": "6", "period": "30", "secret": e.Key} {
		if got := u.Query().Get(name); got != want {
			t.Errorf("key URI: %s is %q, want %q", name, got, want)
		}
	}
	if !regexp.MustCompile(`^[A-Z2-7]{32}$`).MatchString(e.Key) {
		t.Errorf("key has %d characters; 160 bits are 32 of base32", len(e.Key))
	}
	picture := filepath.Join(t.TempDir(), "qr.png")
	if err := os.WriteFile(picture, e.QRPNG, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := exec.Command("zbarimg", "--quiet", "--raw", picture).Output()
	if err != nil {
		t.Fatalf("zbarimg: %v (scripts/setup installs it)", err)
	}
	if strings.TrimSpace(string(read)) != e.OtpauthURI {
		t.Error("the QR code is not the key URI")
	}
	if again := enrolment(t, p, s); again.Key != e.Key {
		t.Error("looking again at a pending enrolment shows another key: who has scanned the first would be lost")
	}
	if other := enrolment(t, p, p.BeginSignIn(second)); other.Key == e.Key {
		t.Error("two people have the same key")
	}
}

// TestB14SpellingDoesNotMatter: spaces and dashes between digits are dropped, nothing else; and a used code in another
// spelling is still used.
func TestB14SpellingDoesNotMatter(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, _ := p.EnrolTOTP(agent)
	for name, spell := range map[string]func(c string) string{
		"plain":        func(c string) string { return c },
		"space":        func(c string) string { return c[:3] + " " + c[3:] },
		"dash":         func(c string) string { return c[:3] + "-" + c[3:] },
		"pairs":        func(c string) string { return c[:2] + " " + c[2:4] + " " + c[4:] },
		"around":       func(c string) string { return " " + c + " " },
		"every digit":  func(c string) string { return strings.Join(strings.Split(c, ""), " ") },
		"dash, spaces": func(c string) string { return c[:3] + " - " + c[3:] },
	} {
		s := p.BeginSignIn(agent)
		c := p.Code(key)
		a := p.Do("POST", s.Path("/verify"), s.Token, code(spell(c)))
		if a.Status != http.StatusOK {
			t.Errorf("%s: %s", name, a)
			continue
		}
		again := p.BeginSignIn(agent)
		for _, spelling := range []string{c, c[:3] + " " + c[3:], c[:1] + "-" + c[1:]} {
			sut.Expect(t, p.Do("POST", again.Path("/verify"), again.Token, code(spelling)), 422, "invalid_code")
		}
		// A right code clears the count, so that the next round is not locked.
		sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", again.Path("/verify"), again.Token, code(p.Code(key))))
	}
	s := p.BeginSignIn(agent)
	c := p.Code(key)
	wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, c)
	arabic := strings.Map(func(r rune) rune { return r - '0' + '٠' }, c)
	for _, not := range []string{
		"", " ", c[:5], c + "0", "+" + c, "-" + c, c + "-", c + "\n", c + "\t", c[:3] + "\t" + c[3:], c[:3] + "\u00a0" + c[3:], c[:3] + "\u200b" + c[3:],
		c[:3] + "." + c[3:], c[:3] + "_" + c[3:], "0x" + c, c + "e0", wide, arabic, c + " " + c, "null", strings.Repeat("1", 64),
	} {
		a := p.Do("POST", s.Path("/verify"), s.Token, code(not))
		if !a.Is(422, "invalid_code") {
			t.Errorf("code %q: %s; want 422 invalid_code", not, a)
		}
	}
	// None of these was counted as a guess, and none has spent the code.
	stands(t, p.Verify(s, c), "complete")
}

// TestB15OneRightCodeActivates: until then nothing is enrolled, and afterwards nobody sees the secret again.
func TestB15OneRightCodeActivates(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	first := p.BeginSignIn(agent)
	e := enrolment(t, p, first)
	refused := p.Do("POST", first.Path("/enrollment/confirm"), first.Token, code(sut.WrongCode(t, e.Key, p.Now())))
	sut.Expect(t, refused, 422, "invalid_code")
	if left := refused.Problem().AttemptsLeft; left == nil || *left != 4 {
		t.Errorf("attempts_left after one wrong code: %v, want 4", left)
	}
	stands(t, look(t, p, first), "enroll")
	before, other := p.BeginSignIn(agent), p.BeginSignIn(agent)
	stands(t, other, "enroll")
	if enrolment(t, p, other).Key == e.Key {
		t.Error("another sign-in is shown the secret of the first")
	}
	// The newer enrolment has taken the place of the first, whose key no longer counts.
	if a := p.Do("POST", first.Path("/enrollment/confirm"), first.Token, code(p.Code(e.Key))); a.Status < 400 {
		t.Errorf("a key that was replaced was confirmed: %s", a)
	}
	e = enrolment(t, p, other)
	done := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", other.Path("/enrollment/confirm"), other.Token, code(p.Code(e.Key))))
	stands(t, done, "complete")
	// Who has only the password, and a sign-in from before, must not get another factor in the place of this one.
	for _, s := range []sut.SignIn{first, other} {
		a := p.Do("POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"})
		if !a.Is(409, "conflict") || strings.Contains(string(a.Body), e.Key) {
			t.Errorf("enrolment after the factor is active: status %d; want 409", a.Status)
		}
	}
	if a := p.Do("POST", before.Path("/enrollment/confirm"), before.Token, code(p.Code(e.Key))); !a.Is(409, "conflict") {
		t.Errorf("confirmation after the factor is active: %s; want 409", a)
	}
	for _, path := range []string{"/v1/account", "/v1/session"} {
		if a := p.Do("GET", path, done.Session.Token, nil); strings.Contains(string(a.Body), e.Key) {
			t.Errorf("%s shows the secret", path)
		}
	}
	// The old sign-in is no way around the factor either.
	s := p.BeginSignIn(agent)
	stands(t, s, "challenge")
	sut.Expect(t, p.Do("POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"}), 409, "conflict")
}

// TestB16ClockOffIsSaid: a code of a phone whose clock is wrong is refused, and the second one in a row is told by how
// much.
func TestB16ClockOffIsSaid(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, _ := p.EnrolTOTP(agent)
	for _, off := range []time.Duration{-7 * time.Minute, 4 * time.Minute} {
		s := p.BeginSignIn(agent)
		sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(sut.CodeAt(t, key, p.Now().Add(off)))), 422, "invalid_code")
		now := p.Advance(sut.Step)
		a := p.Do("POST", s.Path("/verify"), s.Token, code(sut.CodeAt(t, key, now.Add(off))))
		sut.Expect(t, a, 422, "invalid_code")
		got := a.Problem().ClockOffset
		if got == nil {
			t.Errorf("clock off by %v: %s; want clock_offset", off, a)
		} else if d := time.Duration(*got)*time.Second - off; d.Abs() > sut.Step {
			t.Errorf("clock off by %v: clock_offset is %d", off, *got)
		}
		p.Advance(sut.Step)
		stands(t, p.Verify(s, p.Code(key)), "complete")
	}
	// The window itself: the step before and the step after are taken.
	for _, off := range []time.Duration{-sut.Step, sut.Step} {
		now := early(p, 4)
		stands(t, p.Verify(p.BeginSignIn(agent), sut.CodeAt(t, key, now.Add(off))), "complete")
	}
	for _, off := range []time.Duration{-2 * sut.Step, 2 * sut.Step} {
		now := early(p, 6)
		s := p.BeginSignIn(agent)
		sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(sut.CodeAt(t, key, now.Add(off)))), 422, "invalid_code")
	}
}

// early moves the clock by some steps, to the first second of one: what is done now happens within it.
func early(p *sut.Product, steps int) time.Time {
	now := p.Now()
	return p.Advance(time.Duration(steps+1)*sut.Step - now.Sub(now.Truncate(sut.Step)) + time.Second/2)
}

// TestB17LaterSignInsAskForTheCodeOnly: and a code, right as it is, works once.
func TestB17LaterSignInsAskForTheCodeOnly(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	s := p.BeginSignIn(agent)
	e := enrolment(t, p, s)
	confirmed := p.Code(e.Key)
	sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(confirmed)))

	s = p.BeginSignIn(agent)
	stands(t, s, "challenge")
	if s.Factor != "totp" || s.CanSkip || s.Destination != "" {
		t.Errorf("challenge: %+v", s)
	}
	sut.Expect(t, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil), 409, "conflict")
	sut.Expect(t, p.Do("POST", s.Path("/resend"), s.Token, nil), 409, "conflict")
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(confirmed)), 422, "invalid_code")
	c := p.Code(e.Key)
	done := p.Verify(s, c)
	stands(t, done, "complete")
	equal(t, "amr", who(t, p, done.Session.Token).AMR, []string{"pwd", "otp"})
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(c)), 409, "conflict")
	s = p.BeginSignIn(agent)
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(c)), 422, "invalid_code")

	// Upper and lower case of the address are one account.
	stands(t, p.BeginSignIn("Agent@Demo.TEST"), "challenge")
}

// TestB30B31RecoveryCodes: ten codes, shown once; one signs in and replaces the factor in one journey.
func TestB30B31RecoveryCodes(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, session := p.EnrolTOTP(agent)
	account := func(token string) sut.Account {
		t.Helper()
		return sut.Want[sut.Account](t, http.StatusOK, p.Do("GET", "/v1/account", token, nil))
	}
	if left := account(session).RecoveryCodesLeft; left != 0 {
		t.Errorf("%d recovery codes before any were made", left)
	}
	type codes struct {
		Codes []string `json:"codes"`
	}
	make10 := func(token string) []string {
		t.Helper()
		made := sut.Want[codes](t, http.StatusOK, p.Do("POST", "/v1/account/recovery-codes", token, nil)).Codes
		if len(made) != 10 {
			t.Fatalf("%d recovery codes; want 10", len(made))
		}
		return made
	}
	dead1 := make10(session)
	alive := make10(session)
	if left := account(session).RecoveryCodesLeft; left != 10 {
		t.Errorf("%d recovery codes left; want 10", left)
	}
	recovery := func(s sut.SignIn, c string) sut.Answer {
		return p.Do("POST", s.Path("/recover"), s.Token, map[string]string{"recovery_code": c})
	}
	s := p.BeginSignIn(agent)
	sut.Expect(t, recovery(s, dead1[0]), 422, "invalid_code")
	sut.Expect(t, recovery(s, "not a code"), 422, "invalid_code")
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(alive[0])), 422, "invalid_code")
	// Case, spaces and dashes do not matter.
	typed := " " + strings.ToLower(strings.ReplaceAll(alive[0], "-", " ")) + " "
	r := sut.Want[sut.SignIn](t, http.StatusOK, recovery(s, typed))
	stands(t, r, "enroll")
	if r.CanSkip {
		t.Error("recovery lets the factor be dropped")
	}
	dead(t, p, session)
	// The old factor is dead, the code is spent.
	other := p.BeginSignIn(agent)
	stands(t, other, "enroll")
	sut.Expect(t, p.Do("POST", other.Path("/verify"), other.Token, code(p.Code(key))), 409, "conflict")
	sut.Expect(t, recovery(s, alive[1]), 409, "conflict")
	e := enrolment(t, p, s)
	if e.Key == key {
		t.Fatal("recovery shows the old key again")
	}
	done := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(p.Code(e.Key))))
	stands(t, done, "complete")
	if left := account(done.Session.Token).RecoveryCodesLeft; left != 9 {
		t.Errorf("%d recovery codes left after one was used; want 9", left)
	}
	s = p.BeginSignIn(agent)
	sut.Expect(t, recovery(s, alive[0]), 422, "invalid_code")
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(sut.CodeAt(t, key, p.Now()))), 422, "invalid_code")
	stands(t, p.Verify(s, p.Code(e.Key)), "complete")

	// New codes need a proof that is at most five minutes old.
	late := p.SignInTOTP(agent, e.Key)
	p.Advance(5*time.Minute + time.Second)
	sut.Expect(t, p.Do("POST", "/v1/account/recovery-codes", late, nil), 403, "step_up_required")
	p.StepUp(late, e.Key)
	make10(late)
	// Another person's codes are none of mine.
	_, other2 := p.EnrolTOTP(second)
	theirs := make10(other2)
	s = p.BeginSignIn(agent)
	sut.Expect(t, recovery(s, theirs[0]), 422, "invalid_code")
}
