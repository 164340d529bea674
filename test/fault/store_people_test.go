package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"sallyport/test/sut"
)

// gate is the whole product as processes of their own, with a front between the services and their store, and the log of
// what its people were told.
type gate struct {
	*sut.Split
	tb    testing.TB
	front *front
	inbox *sut.Client

	mu sync.Mutex
	// entered counts how often each code opened something: at most once, ever.
	entered map[string]int
	// asked, unanswered: requests, and those answered with 503; longest is the longest wait for one of those.
	asked, unanswered int
	longest, slowest  time.Duration
	// elsewhere are right codes whose sign-in was answered with conflict: it had gone on, and its session was lost.
	elsewhere, textless int
	// appLives and textLives are lives that were lived to the end.
	appLives, textLives int
	// late are right codes whose answers were lost until their time was over.
	late int
	// evaluated are wrong guesses that were compared, by the document that counts them.
	evaluated map[string]int
}

// slack is how much longer than three seconds a refusal may take on a machine that has other things to do.
const slack = 4 * time.Second

// startGate starts everything, and moves so many people in, half of them with a number.
func startGate(tb testing.TB) *gate {
	tb.Helper()
	g := &gate{tb: tb, entered: map[string]int{}, evaluated: map[string]int{}}
	g.Split = sut.StartSplit(tb, sut.SplitOptions{
		Demo: true,
		Env: sut.Fast(map[string]string{
			"PASSWORD_LIMIT_ACCOUNT": "off", "PASSWORD_LIMIT_NETWORK": "off", "SMS_LIMIT_NUMBER": "off", "SMS_LIMIT_PREFIX": "off",
			"SMS_LIMIT_NETWORK": "off", "SMS_LIMIT_COUNTRY": "off", "SMS_LIMIT_PORTAL": "off", "SMS_LIMIT_PERSON": "off", "SMS_CONVERSION_STOP": "off",
		}),
		Wire: func(_ string, env map[string]string) {
			host, options, _ := strings.Cut(strings.TrimPrefix(env["MONGODB_URI"], "mongodb://"), "/")
			if g.front == nil {
				g.front = startFront(tb, host)
			}
			env["MONGODB_URI"] = "mongodb://" + g.front.at + "/" + options
		},
	})
	g.inbox = sut.NewClient(tb, g.Env("sms-dispatcher")["AWS_ENDPOINT_URL_SNS"])
	tb.Cleanup(func() {
		for line := range strings.Lines(g.Output()) {
			if strings.Contains(line, `"level":"ERROR"`) {
				tb.Error(line)
			}
		}
	})
	return g
}

// thePassword is everybody's.
const thePassword = "grey herons at low tide"

// folk are people who were moved in: the first ones with nothing but a password, the others with a number.
func (g *gate) folk(name string, apps, phones int) (with, texted []*visitor) {
	g.tb.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(thePassword), bcrypt.MinCost)
	if err != nil {
		g.tb.Fatal(err)
	}
	var lines bytes.Buffer
	write := json.NewEncoder(&lines)
	add := func(v *visitor, more map[string]any) {
		line := map[string]any{"id": v.id, "email": v.email, "name": "Ada " + v.id, "password": string(hash)}
		for k, w := range more {
			line[k] = w
		}
		if err := write.Encode(line); err != nil {
			g.tb.Fatal(err)
		}
	}
	for n := range apps {
		v := &visitor{g: g, id: fmt.Sprintf("%s-app-%d", name, n)}
		v.email = v.id + "@north.test"
		with = append(with, v)
		add(v, map[string]any{"audience": "internal"})
	}
	for n := range phones {
		v := &visitor{g: g, id: fmt.Sprintf("%s-text-%d", name, n), phone: fmt.Sprintf("+1701555%04d", people.Add(1))}
		v.email = v.id + "@initech.test"
		texted = append(texted, v)
		add(v, map[string]any{"audience": "organization", "organization": "Initech", "phone": v.phone})
	}
	file := filepath.Join(g.tb.TempDir(), "people")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		g.tb.Fatal(err)
	}
	g.Operate(0, "user", "import", "--portal=demo", file)
	return with, texted
}

// visitor is somebody who signs in, and asks again what was not answered.
type visitor struct {
	g                     *gate
	id, email, phone, key string
}

// patience is how long somebody repeats one request.
const patience = 90 * time.Second

// once sends a request and takes its answer down. What is neither an answer nor "unavailable" is a fault.
func (g *gate) once(ctx context.Context, method, path, token string, body any) (sut.Answer, bool) {
	a, err := g.Try(ctx, method, path, token, body)
	if err != nil {
		if ctx.Err() == nil {
			g.tb.Errorf("%s %s: %v", method, path, err)
		}
		return a, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	g.slowest = max(g.slowest, a.Took)
	switch {
	case a.Status == http.StatusServiceUnavailable:
		g.unanswered++
		g.longest = max(g.longest, a.Took)
		if a.Took > sut.Patience+slack {
			g.tb.Errorf("I5: %s %s was refused after %v", method, path, a.Took)
		}
	case a.Status >= http.StatusInternalServerError:
		g.tb.Errorf("%s", a)
	}
	return a, true
}

// ask sends a request until it is answered, the same every time, and tells how often it was not.
func (v *visitor) ask(ctx context.Context, method, path, token string, body any) (a sut.Answer, lost int) {
	until := time.Now().Add(patience)
	for {
		a, ok := v.g.once(ctx, method, path, token, body)
		if !ok || a.Status != http.StatusServiceUnavailable || time.Now().After(until) {
			return a, lost
		}
		lost++
		rest(ctx, 100*time.Millisecond)
	}
}

// rest waits a moment, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// begin gives the password. Whoever has a factor must be asked for it.
func (v *visitor) begin(ctx context.Context, want string) (s sut.SignIn, ok bool) {
	a, _ := v.ask(ctx, http.MethodPost, "/v1/sign-ins", "", map[string]string{"email": v.email, "password": thePassword})
	if a.Status != http.StatusCreated || a.Decode(&s) != nil || s.Status != want || s.Session != nil {
		if ctx.Err() == nil {
			v.g.tb.Errorf("I5: %s began a sign-in: %s; want %s", v.id, a, want)
		}
		return s, false
	}
	return s, true
}

// typedCode is a code, what to call it in a log, and until when it is right for sure; zero is for as long as this takes.
type typedCode struct {
	code, name string
	until      time.Time
}

// types types a code. A right one that is told wrong breaks rule 7, however often its answer was lost.
func (v *visitor) types(ctx context.Context, s sut.SignIn, step, field string, c typedCode, want ...string) (out sut.SignIn, ok bool) {
	a, lost := v.ask(ctx, http.MethodPost, s.Path(step), s.Token, map[string]string{field: c.code})
	over := !c.until.IsZero() && time.Now().After(c.until)
	if ctx.Err() != nil {
		return out, false
	}
	v.g.mu.Lock()
	defer v.g.mu.Unlock()
	switch {
	case a.Status == http.StatusOK && a.Decode(&out) == nil:
		v.g.entered[c.name]++
		out.Token = s.Token
		for _, w := range want {
			if out.Status == w {
				return out, true
			}
		}
		v.g.tb.Errorf("%s: %s: %s; want %v", v.id, c.name, a, want)
	case a.Status == http.StatusConflict && lost > 0:
		v.g.elsewhere++
	case over:
		v.g.late++
	default:
		v.g.tb.Errorf("rule 7: %s: a right code, %s, after %d lost answers: %s", v.id, c.name, lost, a)
	}
	return out, false
}

// refused types a code that must open nothing, in a sign-in of its own.
func (v *visitor) refused(ctx context.Context, step, field, code, why string) {
	s, ok := v.begin(ctx, "challenge")
	if !ok {
		return
	}
	a, _ := v.ask(ctx, http.MethodPost, s.Path(step), s.Token, map[string]string{field: code})
	if ctx.Err() == nil && (a.Status == http.StatusOK || a.Status/100 != 4) {
		v.g.tb.Errorf("I1: %s: %s: %s", v.id, why, a)
	}
}

// app is the code that the person's app shows at a step from now. It is taken until the step after it is over.
func (v *visitor) app(step int) typedCode {
	at := time.Now().Add(time.Duration(step) * sut.Step)
	return typedCode{
		sut.CodeAt(v.g.tb, v.key, at), fmt.Sprintf("%s %s step %d", v.id, v.key[:4], at.Unix()/30), at.Truncate(sut.Step).Add(2 * sut.Step),
	}
}

// enrols sets an authenticator up in a sign-in that asks for it.
func (v *visitor) enrols(ctx context.Context, s sut.SignIn, step int) (done sut.SignIn, ok bool) {
	a, _ := v.ask(ctx, http.MethodPost, s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"})
	var e sut.Enrollment
	if a.Status != http.StatusCreated || a.Decode(&e) != nil {
		if ctx.Err() == nil {
			v.g.tb.Errorf("%s begins to enrol: %s", v.id, a)
		}
		return done, false
	}
	v.key = e.Key
	return v.types(ctx, s, "/enrollment/confirm", "code", v.app(step), "complete", "relogin")
}

// signsIn signs in with the app's code of a step, and returns that code: a moment later the step has another number.
func (v *visitor) signsIn(ctx context.Context, step int) (session, code string, ok bool) {
	s, ok := v.begin(ctx, "challenge")
	if !ok {
		return "", "", false
	}
	typed := v.app(step)
	done, ok := v.types(ctx, s, "/verify", "code", typed, "complete")
	if !ok || done.Session == nil {
		return "", "", false
	}
	return done.Session.Token, typed.code, true
}

// appLife is all that a person with an app does: enrols, signs in, makes recovery codes and spends one, enrols again.
func (v *visitor) appLife(ctx context.Context) {
	s, ok := v.begin(ctx, "enroll")
	if !ok {
		return
	}
	if _, ok = v.enrols(ctx, s, 0); !ok {
		return
	}
	v.g.guesses(ctx, v, 2)
	session, _, ok := v.signsIn(ctx, 1)
	if !ok {
		return
	}
	a, _ := v.ask(ctx, http.MethodPost, "/v1/account/recovery-codes", session, nil)
	var recovery struct{ Codes []string }
	if a.Decode(&recovery) != nil || len(recovery.Codes) != 10 {
		if ctx.Err() == nil {
			v.g.tb.Errorf("%s makes recovery codes: %s", v.id, a)
		}
		return
	}
	if s, ok = v.begin(ctx, "challenge"); !ok {
		return
	}
	if s, ok = v.types(ctx, s, "/recover", "recovery_code", typedCode{code: recovery.Codes[3], name: v.id + " recovery"}, "enroll"); !ok {
		return
	}
	if _, ok = v.enrols(ctx, s, 0); !ok {
		return
	}
	v.refused(ctx, "/recover", "recovery_code", recovery.Codes[3], "a spent recovery code")
	_, spent, ok := v.signsIn(ctx, 1)
	if !ok {
		return
	}
	v.refused(ctx, "/verify", "code", spent, "a spent step")
	v.count(&v.g.appLives)
}

// count adds one to something that the gate counts.
func (v *visitor) count(n *int) {
	v.g.mu.Lock()
	defer v.g.mu.Unlock()
	*n++
}

// textLife is what a person with a telephone does: signs in with the code of a text, and tries it again.
func (v *visitor) textLife(ctx context.Context) {
	s, ok := v.begin(ctx, "challenge")
	if !ok {
		return
	}
	codes := v.texts(ctx, s)
	if len(codes) == 0 {
		v.count(&v.g.textless)
		return
	}
	wrong := "000000"
	if codes[0] == wrong {
		wrong = "111111"
	}
	v.guess(ctx, s, "phones", wrong)
	code := codes[0]
	if len(codes) > 1 {
		// One was for a sign-in whose answer was lost, and nobody can tell them apart.
		opened := false
		for _, code = range codes[:min(3, len(codes))] {
			a, _ := v.ask(ctx, http.MethodPost, s.Path("/verify"), s.Token, map[string]string{"code": code})
			if opened = a.Status == http.StatusOK; opened {
				break
			}
		}
		if !opened {
			v.count(&v.g.elsewhere)
			return
		}
	} else if _, ok := v.types(ctx, s, "/verify", "code", typedCode{code: code, name: v.id + " text " + code}, "complete"); !ok {
		return
	}
	if a, _ := v.ask(ctx, http.MethodPost, s.Path("/verify"), s.Token, map[string]string{"code": code}); a.Status/100 != 4 && ctx.Err() == nil {
		v.g.tb.Errorf("I1: %s types the code of a text again: %s", v.id, a)
	}
	v.count(&v.g.textLives)
}

// texts waits for the text of a sign-in and returns the codes that came, the last one first. Where nobody knew whether an
// earlier one was let through, the next must wait for half a minute, and its person with it; who waits in vain has none, though
// there may be one for a sign-in whose answer was lost: its code is not for this one.
func (v *visitor) texts(ctx context.Context, s sut.SignIn) (codes []string) {
	sent := false
	for range either(250, 450) {
		if a, ok := v.g.once(ctx, http.MethodGet, s.Path(""), s.Token, nil); ok && a.Status == http.StatusOK {
			var now sut.SignIn
			if a.Decode(&now) == nil && now.Delivery == "sent" {
				sent = true
				break
			}
			if now.Delivery == "" && now.ResendIn != nil && *now.ResendIn == 0 {
				v.ask(ctx, http.MethodPost, s.Path("/resend"), s.Token, nil)
			}
		}
		rest(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return nil
		}
	}
	if !sent {
		return nil
	}
	a, err := v.g.inbox.Try(ctx, http.MethodGet, "/messages?to=%2B"+v.phone[1:], "", nil)
	var all []sut.Message
	if err != nil || a.Decode(&all) != nil {
		return nil
	}
	for _, m := range slices.Backward(all) {
		codes = append(codes, sixDigits.FindString(m.Body))
	}
	return codes
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// guess types a code that is wrong, once, and takes down whether it was compared.
func (v *visitor) guess(ctx context.Context, s sut.SignIn, doc, code string) {
	a, ok := v.g.once(ctx, http.MethodPost, s.Path("/verify"), s.Token, map[string]string{"code": code})
	if !ok {
		return
	}
	v.g.mu.Lock()
	defer v.g.mu.Unlock()
	switch {
	case a.Status == http.StatusOK:
		v.g.tb.Errorf("I5: %s was let in by a wrong code: %s", v.id, a)
	case a.Is(http.StatusUnprocessableEntity, "invalid_code"):
		v.g.evaluated[doc+"/demo/"+v.id]++
	}
}

// guesses are some wrong codes at once, over several sign-ins.
func (g *gate) guesses(ctx context.Context, v *visitor, n int) {
	wrong := sut.WrongCode(g.tb, v.key, time.Now())
	var all sync.WaitGroup
	for range (n + 3) / 4 {
		s, ok := v.begin(ctx, "challenge")
		if !ok {
			return
		}
		for range min(n, 4) {
			all.Go(func() { v.guess(ctx, s, "authenticators", wrong) })
		}
	}
	all.Wait()
}
