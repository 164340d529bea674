package attack

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// usualFlows are tried where nobody says how many, with another seed each time.
const usualFlows = 20_000

var (
	flowSeed  = flag.Uint64("attack.seed", 0, "seed of the random flows; 0 takes a new one")
	flowCount = flag.Int("attack.flows", usualFlows, "how many random flows are tried")
)

// crew is a few people whom one attacker plays, honest and not: whatever one of them holds is tried on the others.
type crew struct {
	h      *house
	t      *testing.T
	rand   *rand.Rand
	people []*soul
	flows  []*flow
	passes []*pass
	// now stands while the crew is at work.
	now time.Time
	// story is what was done last, for who reads of a failure.
	story []string
	// lost is set when the product had no time for an answer: what became of it nobody knows, and the crew goes home.
	lost    bool
	replays []func()
	tally   *flowTally
}

// flowTally is what all crews did, to show that something was tried.
type flowTally struct {
	mu  sync.Mutex
	did map[string]int
	bad atomic.Int64
	// done are the flows that came to an end.
	done atomic.Int64
}

func (f *flowTally) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did[what]++
}

// TestI1I5I6TwentyThousandFlows plays random flows against the product: sign-ins, enrolments, skips, resends,
// recoveries, step-ups and sessions in any order, with one's own and others' ids, tokens and codes, replayed, lost and
// half sent, with wrong methods, types and encodings. Now and then a part is missing. Whatever lets somebody in must be
// justified by the model: I1 (once), I5 (nothing but the right answer, whatever is missing), I6 (no more guesses than the
// limit).
func TestI1I5I6TwentyThousandFlows(t *testing.T) {
	t.Parallel()
	seed := *flowSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	flows := *flowCount
	if sut.Race && flows == usualFlows {
		flows /= 50 // races show early, and take their time
	}
	t.Logf("again: -run '^%s$' -attack.seed=%d -attack.flows=%d", t.Name(), seed, flows)
	h := openHouse(t, nil)
	const crews, perRound, roundsOfACrew, roundsWithAll = 8, 20, 16, 8
	tally := &flowTally{did: map[string]int{}}
	all := make([]*crew, crews)
	pace := rand.New(rand.NewPCG(seed, 0))
	lost, without := 0, 0
	done := func() int { return int(tally.done.Load()) }
	for round := 0; done() < flows && tally.bad.Load() == 0; round++ {
		for i, c := range all {
			if c == nil || c.lost || round%roundsOfACrew == i {
				all[i] = h.newCrew(t, rand.New(rand.NewPCG(seed, uint64(1+i+crews*round))), tally)
			}
		}
		missing := ""
		if round%roundsWithAll == roundsWithAll-1 {
			missing = []string{"policy", "totp 1", "sms"}[round/roundsWithAll%3]
		}
		var work sync.WaitGroup
		switch missing {
		case "":
		case "sms": // what it has promised to send, somebody would wait for
			h.stop(missing)
		default:
			work.Go(func() { h.stop(missing) })
		}
		for _, c := range all {
			work.Go(func() {
				c.now = h.Clock.Now()
				for n := 0; n < perRound && !c.lost && tally.bad.Load() == 0; n++ {
					if c.flow(); !c.lost {
						tally.done.Add(1)
					}
				}
			})
		}
		work.Wait()
		for _, c := range all {
			switch {
			case c.lost && missing != "":
				without++
			case c.lost:
				lost++
			}
		}
		if missing != "" {
			h.start(missing)
		}
		if t.Failed() || lost*perRound*10 > done() && lost > 3*crews {
			break
		}
		h.Clock.Add([]time.Duration{time.Second, 10 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second, 31 * time.Second, time.Minute, 2 * time.Minute, 6 * time.Minute, 11 * time.Minute, 40 * time.Minute}[pace.IntN(11)])
	}
	t.Logf("%d flows: %v; %d crews went home early, and %d where a part was missing", done(), tally.did, lost, without)
	if lost*perRound*10 > done() {
		t.Errorf("%d of the crews met a product without time: %d flows", lost, done())
	}
	few := 10 * flows / 20_000
	if without < few {
		t.Errorf("%d crews met a product with a part missing: too few to mean anything", without)
	}
	for _, what := range []string{"verify", "confirm app", "confirm phone", "skip", "recover", "step-up", "replace", "use", "codes", "locked", wrongCode, "half", "odd", "page"} {
		if tally.did[what] < few {
			t.Errorf("%q happened %d times: too few to mean anything", what, tally.did[what])
		}
	}
}

func (h *house) newCrew(t *testing.T, r *rand.Rand, tally *flowTally) *crew {
	c := &crew{h: h, t: t, rand: r, tally: tally}
	for _, p := range append(h.add(t, contract.Internal, 2), h.add(t, contract.Organization, 2)...) {
		c.people = append(c.people, &soul{person: p, sms: len(c.people) >= 2, codes: map[string]bool{}})
	}
	return c
}

// bad reports what the model does not allow.
func (c *crew) bad(format string, args ...any) {
	if c.tally.bad.Add(1) == 1 {
		c.t.Errorf("%s\nthe crew's last steps:\n%s", fmt.Sprintf(format, args...), strings.Join(c.story, "\n"))
	}
}

func (c *crew) tell(format string, args ...any) {
	const most = 60
	c.story = append(c.story, fmt.Sprintf(format, args...))
	c.story = c.story[max(0, len(c.story)-most):]
}

// chance is true so many times of a hundred.
func (c *crew) chance(percent int) bool { return c.rand.IntN(100) < percent }

func pick[T any](c *crew, of []T) (t T) {
	if len(of) == 0 {
		return t
	}
	return of[c.rand.IntN(len(of))]
}

// flow is a short sequence of steps, as a rule about one sign-in or one session.
func (c *crew) flow() {
	p := pick(c, c.people)
	if len(c.flows) == 0 || c.chance(20) {
		c.begin(p)
	}
	f := c.newest(p)
	for range 1 + c.rand.IntN(3) {
		if c.lost || c.tally.bad.Load() > 0 {
			return
		}
		about := f
		if about == nil || c.chance(15) {
			about = pick(c, c.flows)
		}
		if about == nil {
			continue
		}
		v := pick(c, c.passes)
		if c.chance(45) {
			c.sensible(about)
			continue
		}
		switch n := c.rand.IntN(100); {
		case n < 4 && len(c.replays) > 0:
			pick(c, c.replays)()
		case n < 24:
			c.verify(about)
		case n < 36:
			c.enrol(about)
		case n < 54:
			c.confirm(about)
		case n < 58:
			c.skip(about)
		case n < 63:
			c.resend(about)
		case n < 69:
			c.recover(about)
		case n < 75:
			c.look(about)
		case v == nil:
		case n < 83:
			c.stepUp(v)
		case n < 87:
			c.newCodes(v)
		case n < 90:
			c.replace(v)
		case n < 94:
			c.confirmReplaced(v)
		case n < 99:
			c.use(v)
		default:
			c.signOut(v)
		}
	}
}

// sensible is what somebody at this sign-in would do next.
func (c *crew) sensible(f *flow) {
	switch v := c.newestPass(f.of); {
	case f.status == "enroll" && f.canSkip && c.chance(25):
		c.skip(f)
	case f.status == "enroll" && f.seed == nil && f.text == nil:
		c.enrol(f)
	case f.status == "enroll":
		c.confirm(f)
	case f.status == "challenge" && len(f.of.codes) > 0 && c.chance(15):
		c.recover(f)
	case f.status == "challenge" && f.of.sms && c.chance(15):
		c.resend(f)
	case f.status == "challenge":
		c.verify(f)
	case v == nil:
		c.begin(f.of)
	case len(f.of.codes) == 0:
		c.newCodes(v)
	case v.seed != nil:
		c.confirmReplaced(v)
	case c.chance(30):
		c.replace(v)
	default:
		c.stepUp(v)
	}
}

// newestPass is the person's newest session.
func (c *crew) newestPass(p *soul) *pass {
	for i := len(c.passes) - 1; i >= 0; i-- {
		if c.passes[i].of == p {
			return c.passes[i]
		}
	}
	return nil
}

// newest is the person's newest sign-in.
func (c *crew) newest(p *soul) *flow {
	for i := len(c.flows) - 1; i >= 0; i-- {
		if c.flows[i].of == p {
			return c.flows[i]
		}
	}
	return nil
}

// guess is a code to type at a door of p: right as far as the model knows, or one of many kinds that are not.
func (c *crew) guess(p *soul, key string, x *text) string {
	app := func(key string) string {
		if key == "" {
			return "314159"
		}
		return c.h.appCode(c.t, key, c.rand.IntN(3)-1)
	}
	right := app(key)
	if p.sms && x != nil {
		right = x.code
	}
	switch n := c.rand.IntN(100); {
	case n < 50:
	case n < 60:
		right = fmt.Sprintf("%06d", c.rand.IntN(1_000_000))
	case n < 70 && len(p.used) > 0:
		right = pick(c, p.used)
	case n < 78:
		q := pick(c, c.people)
		if right = app(q.key); q.sms {
			if f := pick(c, c.flows); f != nil && f.text != nil {
				right = f.text.code
			}
		}
	case n < 82:
		right = c.h.appCode(c.t, app32(key), []int{-3, -2, 2, 3}[c.rand.IntN(4)])
	case n < 86:
		if len(right) == 6 {
			right = pick(c, other(right))
		}
	}
	if len(right) == 6 && c.chance(20) {
		right = pick(c, same(right))
	}
	return right
}

// app32 is a key to compute with, where there is none.
func app32(key string) string {
	if key == "" {
		return "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	}
	return key
}

// opens takes in a session that an answer brought; one that is lost on the way is nobody's.
func (c *crew) opens(token string, of *soul, proven bool) {
	v := &pass{token: token, of: of, opened: c.now, used: c.now, surely: c.now}
	if proven {
		v.proven = c.now
	}
	if c.chance(90) {
		if c.passes = append(c.passes, v); len(c.passes) > 12 {
			c.passes, c.replays = c.passes[1:], nil // whose session it was, nobody remembers
		}
	}
}

// ends ends the sessions of a person, but one.
func (c *crew) ends(of *soul, keep *pass) {
	for _, v := range c.passes {
		if v.of == of && v != keep && !v.over {
			v.over, v.ended = true, time.Now()
		}
	}
}

// begin gives address and password, now and then the wrong one.
func (c *crew) begin(p *soul) {
	password := sut.DemoPassword
	if c.chance(5) {
		password = pick(c, []string{"guess", "", sut.DemoPassword + " ", strings.ToUpper(sut.DemoPassword)})
	}
	a, ok := c.send(wire{method: http.MethodPost, path: "/v1/sign-ins", fields: map[string]any{"email": p.email, "password": password}})
	c.tell("begin %s: %s", p.user, brief(a))
	if !ok || a.Status != http.StatusCreated {
		return
	}
	if password != sut.DemoPassword {
		c.bad("a wrong password begins a sign-in: %s", a)
	}
	s := sut.Want[sut.SignIn](c.t, http.StatusCreated, a)
	f := &flow{id: s.ID, token: s.Token, of: p, status: s.Status, at: c.now, life: p.life, canSkip: s.CanSkip}
	want := "challenge"
	switch {
	case p.skipped && !p.enrolled:
		want = "complete"
	case !p.enrolled:
		want = "enroll"
	}
	if s.Status != want || (s.Session != nil) != (want == "complete") {
		c.bad("%s, enrolled %v, skipped %v: a sign-in begins as %s; want %s", p.user, p.enrolled, p.skipped, a, want)
		return
	}
	if s.Session != nil {
		c.opens(s.Session.Token, p, false)
	}
	if c.flows = append(c.flows, f); len(c.flows) > 15 {
		c.flows, c.replays = c.flows[1:], nil
	}
	if s.Delivery == "queued" && want == "challenge" {
		c.arrives(f)
	}
}

// arrives waits for the text of a flow; it kills the one before.
func (c *crew) arrives(f *flow) {
	if f.text != nil {
		f.text.dead = true
	}
	f.text = &text{code: c.h.inbox.CodeAfter(f.of.phone, f.of.texts), at: c.now}
	f.of.texts = len(c.h.inbox.Messages(f.of.phone))
	c.tell("  a text for %s", f.of.user)
}

// brief is an answer for the story.
func brief(a sut.Answer) string {
	return fmt.Sprintf("%s %s: %d %s", a.Method, a.Path, a.Status, verdict(a))
}
