package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"sallyport/test/sut"
)

// staff and contacts are how many people have an authenticator, and a telephone.
var staff, contacts = short(120, 240), short(200, 600)

const (
	// aText is how long a person looks at their telephone.
	aText = 8 * time.Second
	// rest is how long somebody whose text was not answered waits: longer than the product has them wait after two.
	rest = 65 * time.Second
)

// person is somebody who signs in, one sign-in at a time.
type person struct {
	n     int
	phone bool
	key   string // of the authenticator
	step  int64  // the last one whose code was typed, or may have been
}

func (p *person) id() string {
	if p.phone {
		return contactID(p.n)
	}
	return staffID(p.n)
}

func (p *person) email() string {
	if p.phone {
		return p.id() + "@acme.test"
	}
	return p.id() + "@north.test"
}

// code is what the app shows in a step.
func (p *person) code(tb testing.TB, step int64) string {
	code, err := totp.GenerateCode(p.key, time.Unix(step*int64(sut.Step/time.Second), 0))
	if err != nil {
		tb.Error(err)
	}
	return code
}

// stepNow is the step of the host's clock.
func stepNow() int64 { return time.Now().Unix() / int64(sut.Step/time.Second) }

// crowd is everybody, and what became of their sign-ins.
type crowd struct {
	h      *house
	ledger ledger
	// expected is how sign-ins must go when nothing fails.
	expected expectation
	apps     chan *person
	texted   chan *person
	turn     atomic.Int64
	busy     sync.WaitGroup
	// patient people try a request once more that was answered 503; again counts how often.
	patient atomic.Bool
	again   atomic.Int64
}

// newCrowd enrols the staff.
func newCrowd(h *house) *crowd {
	h.tb.Helper()
	c := &crowd{h: h, apps: make(chan *person, staff), texted: make(chan *person, contacts)}
	for n := range contacts {
		c.texted <- &person{n: n, phone: true}
	}
	var enrolling sync.WaitGroup
	var absent atomic.Int32
	next := make(chan int)
	for range 8 {
		enrolling.Go(func() {
			for n := range next {
				p := &person{n: n}
				if err := c.enrol(p); err != nil {
					absent.Add(1) // on a machine that is too busy for a moment; the others are enough
					h.tb.Logf("enrol %s: %v", p.id(), err)
					continue
				}
				c.apps <- p
			}
		})
	}
	for n := range staff {
		next <- n
	}
	close(next)
	enrolling.Wait()
	if n := int(absent.Load()); n > staff/10 {
		h.tb.Errorf("%d of %d people could not enrol though nothing failed", n, staff)
	}
	return c
}

// enrol gives somebody an authenticator. Its code is that of the step before, so that the present one is still theirs.
func (c *crowd) enrol(p *person) error {
	at := c.gateway(0)
	var s sut.SignIn
	if err := ask(at, http.StatusCreated, "POST", "/v1/sign-ins", "", sut.Credentials(p.email()), &s); err != nil {
		return err
	}
	var e sut.Enrollment
	if err := ask(at, http.StatusCreated, "POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"}, &e); err != nil {
		return err
	}
	p.key, p.step = e.Key, stepNow()-1
	var done sut.SignIn
	confirm := func() error {
		return ask(at, http.StatusOK, "POST", s.Path("/enrollment/confirm"), s.Token, map[string]string{"code": p.code(c.h.tb, p.step), "label": "Pixel 9"}, &done)
	}
	if err := confirm(); err != nil { // it came too late for that step
		p.step++
		if err := confirm(); err != nil {
			return err
		}
	}
	c.ledger.completes(p.id(), p.code(c.h.tb, p.step), done)
	return nil
}

func ask(at *sut.Client, status int, method, path, token string, body, into any) error {
	a, err := at.Try(context.Background(), method, path, token, body)
	if err != nil {
		return err
	}
	if a.Status != status {
		return fmt.Errorf("%s; want %d", a, status)
	}
	return a.Decode(into)
}

func (c *crowd) gateway(n int64) *sut.Client { return c.h.gateways[n%int64(len(c.h.gateways))] }

// signIn is one sign-in, from the password to the session, of which the ledger gets every answer.
type signIn struct {
	*crowd
	p       *person
	at      *sut.Client
	turn    int64
	begun   time.Time
	told    bool // of a challenge by text
	refused refusal
	rests   bool
}

// Every eighth sign-in is an attack.
const (
	wrongCode = 3 // somebody guesses
	usedCode  = 7 // somebody types again, at another gateway, what has just been typed
)

// run does one sign-in.
func (c *crowd) run(p *person) {
	s := &signIn{crowd: c, p: p, turn: c.turn.Add(1), begun: time.Now()}
	s.at = c.gateway(s.turn)
	done := s.do()
	if s.told && !done {
		c.ledger.parted(p.id())
	}
	if s.refused != tooSoon {
		c.ledger.add(sample{At: s.begun, Took: time.Since(s.begun), Refused: s.refused, Done: done})
	}
	c.rests(s)
}

// rests gives a person back, at once or after a while.
func (c *crowd) rests(s *signIn) {
	home := c.apps
	if s.p.phone {
		home = c.texted
	}
	if !s.rests {
		home <- s.p
		return
	}
	time.AfterFunc(rest, func() { home <- s.p })
}

func (s *signIn) do() (done bool) {
	seen := s.h.phones.seen(number(s.p.n))
	var now sut.SignIn
	a, ok := s.post("/v1/sign-ins", "", sut.Credentials(s.p.email()), &now)
	if !ok {
		if s.p.phone { // the text may have been asked for
			s.rests = true
			s.ledger.told(s.p.id(), false)
		}
		return false
	}
	if a.Status == http.StatusTooManyRequests && s.p.phone {
		s.rests, s.refused = true, tooSoon // somebody whose last text was not answered
		s.ledger.early()
		return false
	}
	if a.Status != http.StatusCreated || now.Status != "challenge" || now.Session != nil {
		s.ledger.complain("I5", "%s is not asked for the second factor: %s", s.p.id(), a)
		return false
	}
	if s.p.phone && now.Delivery == "" {
		s.rests, s.refused = true, tooSoon // of several texts that were not answered: this sign-in has no challenge yet
		s.ledger.early()
		return false
	}
	code := ""
	if s.p.phone {
		s.told = true
		s.ledger.told(s.p.id(), true)
		if code = s.h.phones.next(number(s.p.n), seen, aText); code == "" {
			s.rests, s.refused = true, noText
			return false
		}
	} else {
		s.p.step = max(s.p.step+1, stepNow()-1)
		code = s.p.code(s.h.tb, s.p.step)
	}
	typed := code
	if s.turn%8 == wrongCode {
		typed = fmt.Sprintf("%06d", (rand.IntN(999_998)+1+atoi(code))%1_000_000)
	}
	var end sut.SignIn
	a, ok = s.post(now.Path("/verify"), now.Token, map[string]string{"code": typed}, &end)
	if !ok {
		s.rests = s.p.phone
		return false
	}
	switch {
	case typed != code && a.Is(http.StatusUnprocessableEntity, "invalid_code"):
		if !s.p.phone {
			return true
		}
		// The right one, or the next text has to wait.
		if a, ok = s.post(now.Path("/verify"), now.Token, map[string]string{"code": code}, &end); !ok {
			s.rests = true
			return false
		}
	case typed != code && a.Status == http.StatusOK && s.near(typed):
		return true // a guess that was lucky: one in three hundred thousand
	case typed != code:
		s.ledger.complain("I5", "%s typed a wrong code: %s", s.p.id(), a)
		return false
	}
	if a.Status != http.StatusOK || end.Status != "complete" || end.Session == nil {
		s.ledger.complain("rule 7", "%s typed a right code: %s", s.p.id(), a)
		s.rests = s.p.phone
		return false
	}
	s.ledger.completes(s.p.id(), code, end)
	if s.turn%8 == usedCode && !s.p.phone {
		s.replay(code)
	}
	return true
}

// near tells whether a guess is a code of the window all the same.
func (s *signIn) near(typed string) bool {
	for step := stepNow() - 2; step <= stepNow()+1; step++ {
		if !s.p.phone && s.p.code(s.h.tb, step) == typed {
			return true
		}
	}
	return false
}

// replay types a code that was accepted, in a sign-in at another gateway.
func (s *signIn) replay(code string) {
	s.at = s.gateway(s.turn + 1)
	var now, end sut.SignIn
	if a, ok := s.post("/v1/sign-ins", "", sut.Credentials(s.p.email()), &now); !ok || a.Status != http.StatusCreated {
		return
	}
	if a, ok := s.post(now.Path("/verify"), now.Token, map[string]string{"code": code}, &end); ok && a.Status == http.StatusOK {
		s.ledger.complain("I1", "%s typed a code twice: %s", s.p.id(), a)
	}
}

// post asks; false means that nobody could answer, which is said as it must be.
func (s *signIn) post(path, token string, body, into any) (sut.Answer, bool) {
	a, err := s.at.Try(context.Background(), "POST", path, token, body)
	if err == nil && a.Status == http.StatusServiceUnavailable && s.patient.Load() {
		wait, _ := strconv.Atoi(a.Header.Get("Retry-After"))
		select {
		case <-time.After(time.Duration(wait) * time.Second):
		case <-s.h.tb.Context().Done():
		}
		s.again.Add(1)
		a, err = s.at.Try(context.Background(), "POST", path, token, body)
	}
	if err != nil {
		s.ledger.complain("gateway", "%s %s: %v", s.p.id(), path, err)
		s.refused = unavailable
		return a, false
	}
	if a.Status == http.StatusServiceUnavailable {
		if a.Header.Get("Retry-After") == "" || a.Problem().Code != "unavailable" {
			s.ledger.complain("503", "%s: without Retry-After: %s", s.p.id(), a)
		}
		s.refused = unavailable
		return a, false
	}
	if a.Status < 300 {
		if err := a.Decode(into); err != nil {
			s.ledger.complain("gateway", "%s %s: %v", s.p.id(), path, err)
		}
	}
	return a, true
}

func atoi(s string) int {
	n := 0
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

// load lets people sign in, so many a second, half of them with an authenticator, and look at their sessions. It ends
// when the returned function is called, and that returns when the last one is through.
func (c *crowd) load(perSecond int) (stop func()) {
	ended := make(chan struct{})
	c.busy.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			p := c.somebody(n%2 == 0)
			if p == nil {
				p = c.somebody(n%2 != 0)
			}
			if p != nil {
				c.busy.Go(func() { c.run(p) })
			} else {
				c.ledger.nobody()
			}
		}
	})
	c.busy.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := int64(0); ; n++ {
			select {
			case <-ended:
				return
			case <-tick.C:
				c.busy.Go(func() { c.visit(n) })
			}
		}
	})
	return func() {
		close(ended)
		c.busy.Wait()
	}
}

// somebody is a person who can sign in now; nil where there is none.
func (c *crowd) somebody(phone bool) *person {
	if phone {
		select {
		case p := <-c.texted:
			return p
		default:
			return nil
		}
	}
	for range len(c.apps) {
		select {
		case p := <-c.apps:
			if p.step <= stepNow() { // the window takes the next one, too
				return p
			}
			c.apps <- p
		default:
			return nil
		}
	}
	return nil
}

// visit looks at a page with somebody's session.
func (c *crowd) visit(n int64) {
	token := c.ledger.anySession()
	if token == "" {
		return
	}
	begun := time.Now()
	a, err := c.gateway(n).Try(context.Background(), "GET", "/v1/session", token, nil)
	switch {
	case err != nil:
		c.ledger.complain("gateway", "a visit: %v", err)
	case a.Status == http.StatusOK, a.Status == http.StatusServiceUnavailable:
		s := sample{At: begun, Took: time.Since(begun), Done: a.Status == http.StatusOK}
		if !s.Done {
			s.Refused = unavailable
		}
		c.ledger.visited(s)
	default:
		c.ledger.complain("session", "a session that was given is not known: %s", a)
	}
}
