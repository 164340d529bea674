package fault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	otp "github.com/pquerna/otp/totp"
	"golang.org/x/crypto/argon2"

	"sallyport/test/sut"
)

// traffic is people who sign in at a steady rate, at one of several gateways, with an authenticator or a text message.
// What one gateway does not do is tried once at the next one, as a load balancer would. Whoever has no session after
// that is a failure.
type traffic struct {
	tb       testing.TB
	sandbox  *sut.Sandbox
	gateways []*sut.Client
	turn     atomic.Int64
	apps     chan *passer // those who wait for their next sign-in
	phones   chan *passer

	mu       sync.Mutex
	failures []string
	retries  []string
	took     map[string][]time.Duration // of whole sign-ins, by factor
	slowest  time.Duration              // of single requests
	sessions []string
}

// passer is somebody with a second factor.
type passer struct {
	email, phone, key string
	step              int64 // the last time step that was spent
	texts             int
}

// crowdPassword is everybody's.
const crowdPassword = "correct horse battery staple"

// newTraffic imports so many people with an authenticator, who enrol, and so many contacts with a telephone.
func newTraffic(tb testing.TB, s *sut.Split, apps, phones int) *traffic {
	tb.Helper()
	f := &traffic{
		tb: tb, sandbox: s.Sandbox, apps: make(chan *passer, apps), phones: make(chan *passer, phones), took: make(map[string][]time.Duration),
	}
	for _, base := range s.Bases {
		f.gateways = append(f.gateways, sut.NewClient(tb, base))
	}
	s.Operate(0, "portal", "create", "--id=north", "--name=North", "--url="+s.Base, "--admin-email=ada@north.example", "--admin-name=Ada", "--internal=required", "--organizations=required")
	salt := []byte("sixteen bytes of")
	b64 := base64.RawStdEncoding
	hash := fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=1$%s$%s", b64.EncodeToString(salt), b64.EncodeToString(argon2.IDKey([]byte(crowdPassword), salt, 1, 64, 1, 32)))
	var people strings.Builder
	add := func(line map[string]any) {
		line["password"] = hash
		raw, err := json.Marshal(line)
		if err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintln(&people, string(raw))
	}
	var all []*passer
	for n := range apps {
		v := &passer{email: fmt.Sprintf("app%03d@north.example", n)}
		all = append(all, v)
		add(map[string]any{"email": v.email, "name": "App", "audience": "internal"})
	}
	for n := range phones {
		v := &passer{email: fmt.Sprintf("phone%03d@acme.example", n), phone: fmt.Sprintf("+1701555%04d", n)}
		f.phones <- v
		add(map[string]any{"email": v.email, "name": "Phone", "audience": "organization", "organization": "Acme", "phone": v.phone})
	}
	file := filepath.Join(tb.TempDir(), "people.jsonl")
	if err := os.WriteFile(file, []byte(people.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.Operate(0, "user", "import", "--portal=north", file)
	// Enrolment spends the step before this one, so that there are two more at once.
	slots, enrolling := make(chan struct{}, 4), sync.WaitGroup{}
	for _, v := range all {
		slots <- struct{}{}
		enrolling.Go(func() {
			defer func() { <-slots }()
			if err := f.enrol(tb.Context(), v); err != nil {
				tb.Error(err)
				return
			}
			f.apps <- v
		})
	}
	enrolling.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
	f.forget()
	return f
}

// ask sends a request to the gateway whose turn it is and, where that does not do it, once to the next one.
func (f *traffic) ask(ctx context.Context, method, path, token string, body any) (sut.Answer, error) {
	n := int(f.turn.Add(1))
	var a sut.Answer
	var err error
	for try := range 2 {
		g := f.gateways[(n+try)%len(f.gateways)]
		a, err = g.Try(ctx, method, path, token, body)
		f.mu.Lock()
		f.slowest = max(f.slowest, a.Took)
		if why := undone(a, err); why != "" && try == 0 {
			f.retries = append(f.retries, method+" "+path[:min(len(path), 12)]+": "+why)
		}
		f.mu.Unlock()
		if undone(a, err) == "" || ctx.Err() != nil {
			break
		}
	}
	return a, err
}

// undone says why a balancer would ask another gateway; "" where it would not.
func undone(a sut.Answer, err error) string {
	switch {
	case err != nil:
		for u := errors.Unwrap(err); u != nil; u = errors.Unwrap(err) {
			err = u
		}
		return err.Error()
	case a.Status == http.StatusBadGateway, a.Status == http.StatusServiceUnavailable:
		return fmt.Sprintf("status %d", a.Status)
	default:
		return ""
	}
}

// wants asks for a sign-in and what it must be, or one of several.
func (f *traffic) wants(ctx context.Context, status string, s sut.SignIn, path string, body any) (sut.SignIn, error) {
	a, err := f.ask(ctx, http.MethodPost, path, s.Token, body)
	if err != nil {
		return s, err
	}
	var next sut.SignIn
	if err := a.Decode(&next); err != nil || !strings.Contains(status, next.Status) {
		return s, fmt.Errorf("%s; want %s", a, status)
	}
	if next.Session != nil {
		f.mu.Lock()
		f.sessions = append(f.sessions, next.Session.Token)
		f.mu.Unlock()
	}
	if next.Token == "" {
		next.Token = s.Token
	}
	return next, nil
}

func (f *traffic) begin(ctx context.Context, v *passer, status string) (sut.SignIn, error) {
	return f.wants(ctx, status, sut.SignIn{}, "/v1/sign-ins", map[string]string{"email": v.email, "password": crowdPassword})
}

// code is that of the person's next step, or of the one before this one where that is taken for ten seconds more.
func (v *passer) code() (map[string]string, error) {
	const step = int64(sut.Step / time.Second)
	v.step = max(v.step+1, time.Now().Add(10*time.Second).Unix()/step-1)
	text, err := otp.GenerateCode(v.key, time.Unix(v.step*step, 0))
	return map[string]string{"code": text}, err
}

// rested tells whether the person's app shows, or is about to show, a code that is not spent.
func (v *passer) rested() bool { return v.step <= time.Now().Unix()/int64(sut.Step/time.Second) }

func (f *traffic) enrol(ctx context.Context, v *passer) error {
	s, err := f.begin(ctx, v, "enroll")
	if err != nil {
		return err
	}
	a, err := f.ask(ctx, http.MethodPost, s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"})
	if err != nil {
		return err
	}
	var e sut.Enrollment
	if err := a.Decode(&e); err != nil || e.Key == "" {
		return fmt.Errorf("%s; want an enrolment", a)
	}
	v.key = e.Key
	code, err := v.code()
	if err != nil {
		return err
	}
	// On a machine that is slow enough a service answers the second attempt of a call, and they are asked to sign in again.
	_, err = f.wants(ctx, "complete or relogin", s, s.Path("/enrollment/confirm"), code)
	return err
}

// signInApp signs somebody in with their authenticator.
func (f *traffic) signInApp(ctx context.Context, v *passer) error {
	s, err := f.begin(ctx, v, "challenge")
	if err != nil {
		return err
	}
	code, err := v.code()
	if err != nil {
		return err
	}
	_, err = f.wants(ctx, "complete", s, s.Path("/verify"), code)
	return err
}

// signInPhone signs somebody in with the text that comes.
func (f *traffic) signInPhone(ctx context.Context, v *passer) error {
	s, err := f.begin(ctx, v, "challenge")
	if err != nil {
		return err
	}
	text, err := f.text(ctx, v)
	if err != nil {
		return err
	}
	_, err = f.wants(ctx, "complete", s, s.Path("/verify"), map[string]string{"code": sut.CodeIn(f.tb, text)})
	return err
}

// text waits for the person's next one.
func (f *traffic) text(ctx context.Context, v *passer) (string, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if all := f.sandbox.Messages(v.phone); len(all) > v.texts {
			v.texts = len(all)
			return all[len(all)-1].Body, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no text came to %s", v.phone)
		case <-tick.C:
		}
	}
}

// run has people come, so many a second, every other one with a telephone, until over is closed; it returns when all
// of them are through. A sign-in has half a minute. While a second's people are not through, nobody else comes.
func (f *traffic) run(rate int, over <-chan struct{}) {
	var under sync.WaitGroup
	defer under.Wait()
	room := make(chan struct{}, rate)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		queue, factor, signIn := f.apps, "totp", f.signInApp
		if n%2 == 1 {
			queue, factor, signIn = f.phones, "sms", f.signInPhone
		}
		v := <-queue
		if factor == "totp" && !v.rested() {
			queue <- v
			continue
		}
		room <- struct{}{}
		under.Go(func() {
			defer func() { <-room }()
			ctx, cancel := context.WithTimeout(f.tb.Context(), 30*time.Second)
			defer cancel()
			begun := time.Now()
			err := signIn(ctx, v)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.took[factor] = append(f.took[factor], time.Since(begun))
			if err != nil {
				f.failures = append(f.failures, fmt.Sprintf("%s at %s: %v", v.email, begun.Format("15:04:05.000"), err))
			}
			queue <- v
		})
	}
}

// carried is the rate, or the half, the quarter or the tenth of it, that this machine carries while nothing is restarted: no request
// takes so long that a busy store or a busy processor, and no restart, might have somebody refused. It is false where
// the machine does not carry that either.
func (f *traffic) carried(most int) (rate int, ok bool) {
	const slow = 500 * time.Millisecond
	for _, part := range []int{1, 2, 4, 10} {
		rate = most / part
		over := make(chan struct{})
		wait := time.AfterFunc(2*time.Second, func() { close(over) })
		f.run(rate, over)
		wait.Stop()
		slowest := f.slowest
		f.forget()
		if slowest < slow {
			return rate, true
		}
		f.tb.Logf("a request takes %v while nothing is restarted, at %d people a second", slowest, rate)
	}
	return rate, false
}

// forget begins the book anew.
func (f *traffic) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures, f.retries, f.sessions, f.slowest = nil, nil, nil, 0
	f.took = make(map[string][]time.Duration)
}

// texted is how many texts were handed over to all of them.
func (f *traffic) texted() int { return len(f.sandbox.Messages("")) }

// figures are a line for each of what happened.
func (f *traffic) figures() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	line := func(what, format string, args ...any) string {
		return fmt.Sprintf("%-34s %s", what, fmt.Sprintf(format, args...))
	}
	var out []string
	for _, factor := range []string{"totp", "sms"} {
		all := slices.Sorted(slices.Values(f.took[factor]))
		if len(all) == 0 {
			continue
		}
		at := func(share float64) time.Duration { return all[int(share*float64(len(all)-1))].Round(time.Millisecond) }
		out = append(out, line("sign-ins, "+factor, "%d; p50 %v, p99 %v, longest %v", len(all), at(0.5), at(0.99), at(1)))
	}
	why := map[string]int{}
	for _, r := range f.retries {
		why[r[strings.Index(r, ": ")+2:]]++
	}
	return append(out, line("sign-ins that failed", "%d", len(f.failures)), line("requests tried again", "%s", counts(why)), line("slowest request", "%v", f.slowest.Round(time.Millisecond)))
}
