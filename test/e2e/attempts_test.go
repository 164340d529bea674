package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// left fails the test unless a sign-in says that so many wrong codes are left, and of no lock.
func left(t *testing.T, s sut.SignIn, want int) {
	t.Helper()
	if s.AttemptsLeft == nil || *s.AttemptsLeft != want || !s.LockedUntil.IsZero() {
		t.Errorf("attempts_left %v, locked_until %v; want %d and no lock", s.AttemptsLeft, s.LockedUntil, want)
	}
}

// locked fails the test unless a sign-in says until when its factor is locked, and of no attempts.
func locked(t *testing.T, s sut.SignIn, until time.Time) {
	t.Helper()
	if s.AttemptsLeft != nil {
		t.Errorf("attempts_left is %d of a factor that is locked", *s.AttemptsLeft)
	}
	near(t, "locked_until", s.LockedUntil, until, 10*time.Second)
}

// TestASignInSaysWhatIsLeftOfTheAuthenticator: how many codes may still be wrong, and until when none is taken; whichever
// sign-in it was that used them up, and on the page that is opened again, too.
func TestASignInSaysWhatIsLeftOfTheAuthenticator(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	e := p.BeginSignIn(agent)
	if e.AttemptsLeft != nil || look(t, p, e).AttemptsLeft != nil {
		t.Errorf("attempts_left %v before there is a secret", e.AttemptsLeft)
	}
	secret := enrolment(t, p, e)
	left(t, look(t, p, e), 5)
	wrong := func(s sut.SignIn, step, key string) {
		t.Helper()
		sut.Expect(t, p.Do("POST", s.Path(step), s.Token, code(sut.WrongCode(t, key, p.Now()))), http.StatusUnprocessableEntity, "invalid_code")
	}
	wrong(e, "/enrollment/confirm", secret.Key)
	left(t, look(t, p, e), 4)
	sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", e.Path("/enrollment/confirm"), e.Token, code(p.Code(secret.Key))))

	s := p.BeginSignIn(agent)
	left(t, s, 5)
	wrong(s, "/verify", secret.Key)
	left(t, look(t, p, s), 4)
	left(t, p.BeginSignIn(agent), 4) // the count is the person's
	for range 4 {
		wrong(s, "/verify", secret.Key)
	}
	until := p.Now().Add(30 * time.Second)
	locked(t, look(t, p, s), until)
	other := p.BeginSignIn(agent)
	stands(t, other, "challenge")
	locked(t, other, until)
	v := newVisitor(t, p)
	v.signIn(agent)
	v.at("/sign-in/code")
	v.says("Too many wrong codes")
	v.get("/sign-in/code")
	v.says("Too many wrong codes")

	// So does the page of somebody's first authenticator.
	v = newVisitor(t, p)
	v.signIn(second)
	v.post("/sign-in/enroll/start", nil)
	key := strings.ReplaceAll(grouped.FindString(v.text()), " ", "")
	for range 5 {
		v.post("/sign-in/enroll/confirm", form{"code": sut.WrongCode(t, key, p.Now())})
	}
	v.get("/sign-in/enroll/totp")
	v.says("Too many wrong codes")

	p.Advance(31 * time.Second)
	v.get("/sign-in/enroll/totp")
	if strings.Contains(v.text(), "Too many wrong codes") {
		t.Error("the page tells of a lock that is over")
	}
	left(t, look(t, p, other), 5)
	done := p.Verify(other, p.Code(secret.Key))
	if done.AttemptsLeft != nil {
		t.Errorf("attempts_left %d of a sign-in that is complete", *done.AttemptsLeft)
	}
	left(t, look(t, p, s), 5)
}

// TestASignInSaysWhatIsLeftOfTheTelephone: the same of text messages.
func TestASignInSaysWhatIsLeftOfTheTelephone(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	e := p.BeginSignIn(clerk)
	sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", e.Path("/enrollment"), e.Token, phone(clerkPhone)))
	left(t, look(t, p, e), 5)
	sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", e.Path("/enrollment/confirm"), e.Token, code(p.LastCode(clerkPhone))))
	p.Advance(time.Minute)

	seen := len(p.Messages(clerkPhone))
	s := p.BeginSignIn(clerk)
	left(t, s, 5)
	wrong := "000000"
	if p.CodeAfter(clerkPhone, seen) == wrong {
		wrong = "111111"
	}
	for range 2 {
		sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(wrong)), http.StatusUnprocessableEntity, "invalid_code")
	}
	left(t, look(t, p, s), 3)
	p.Advance(time.Minute)
	left(t, sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/resend"), s.Token, nil)), 3)
	seen++
	if p.CodeAfter(clerkPhone, seen) == wrong {
		wrong = "222222"
	}
	for range 3 {
		sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(wrong)), http.StatusUnprocessableEntity, "invalid_code")
	}
	until := p.Now().Add(30 * time.Second)
	locked(t, look(t, p, s), until)
	other := p.BeginSignIn(clerk)
	stands(t, other, "challenge")
	locked(t, other, until)
}
