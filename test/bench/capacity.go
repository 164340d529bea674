package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"github.com/valyala/fasthttp"

	"sallyport/pkg/contract"
)

// partCapacity is the part that is measured only when it is asked for.
const partCapacity = "capacity"

// How much of each thing is done.
const (
	capacitySignIns  = 300
	capacityTexts    = 200
	capacityEnrol    = 150
	capacityChecks   = 20_000
	capacitySessions = 100_000
)

// The installations whose cost is compared. The smaller one is used for all else.
var (
	fewer = crowd{apps: 10_000, costly: 1_500, contacts: 400, fresh: capacityEnrol}
	many  = crowd{apps: 100_000}
)

// operation is what one of N did.
type operation struct {
	Name string
	N    int
	Each snapshot
}

// capacityFigures are what a plan is made of.
type capacityFigures struct {
	Operations []operation
	Among      []operation // the same sign-in in installations of two sizes
	Idle       snapshot
	Hash       time.Duration // CPU of one password hash
	Full       struct {
		result
		Shares snapshot // of the cores, at the highest rate
	}
	Kept     []kept
	Files    float64 // bytes that one person adds to the embedded store's files
	Sessions struct {
		N                     int
		Empty, Full, Again    float64 // MiB resident: without, with them, and read anew at a start
		Peak                  float64 // MiB at most, while they were read anew
		ReadyEmpty, ReadyFull time.Duration
		Each                  snapshot // of one session that another gateway wrote
	}
	Series map[contract.Service]int
}

// capacity measures what things cost, with each part in a process of its own.
func (b *bench) capacity(ctx context.Context) (err error) {
	for _, s := range houseServices {
		if err := build("./services/"+string(s), filepath.Join(b.dir, string(s))); err != nil {
			return err
		}
	}
	few, err := b.installation("fewer", fewer)
	if err != nil {
		return err
	}
	h, err := openHouse(ctx, b.dir, few)
	if err != nil {
		return err
	}
	defer func() {
		if h != nil {
			err = errors.Join(err, h.close())
		}
	}()
	c := &b.report.Capacity
	if err := h.operations(ctx, c); err != nil {
		return err
	}
	progress("what is kept")
	if c.Kept, err = atRest(ctx, h.store); err != nil {
		return err
	}
	if err := h.sessionsAlive(ctx, c); err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	if err = h.close(); err != nil {
		return err
	}
	h = nil
	small, err := storeFiles(few)
	if err != nil {
		return err
	}

	dir, err := b.installation("many", many)
	if err != nil {
		return err
	}
	big, err := openHouse(ctx, b.dir, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, big.close()) }()
	idle, err := big.idle(ctx)
	if err != nil {
		return err
	}
	among, err := big.signIns(ctx, fmt.Sprintf("among %s people", number(float64(many.apps))), idle, usersFrom(0, capacitySignIns))
	if err != nil {
		return err
	}
	c.Among = append(c.Among, among)
	large, err := storeFiles(dir)
	c.Files = float64(large-small) / float64(many.apps-fewer.apps-fewer.contacts)
	return err
}

// idle is what a second costs in which nobody does anything.
func (h *house) idle(ctx context.Context) (snapshot, error) {
	progress("idle")
	before, err := h.look(ctx)
	if err != nil {
		return nil, err
	}
	<-time.After(6 * time.Second)
	after, err := h.look(ctx)
	if err != nil {
		return nil, err
	}
	return after.minus(before).perSecond(), nil
}

// operations counts what each thing costs that people do.
func (h *house) operations(ctx context.Context, c *capacityFigures) error {
	begin := time.Now()
	for range 40 {
		_ = production.key()
	}
	c.Hash = time.Since(begin) / 40
	if r, err := metered(os.Getpid(), func() (result, error) {
		return drive(1, time.Second, func(int) error { _ = production.key(); return nil })
	}); err == nil {
		c.Hash = r.cpuPerOperation()
	}

	var err error
	if c.Idle, err = h.idle(ctx); err != nil {
		return err
	}
	c.Series = map[contract.Service]int{}

	cheap := fewer.apps - fewer.costly
	for _, step := range []func() (operation, error){
		func() (operation, error) {
			return h.signIns(ctx, "sign-in with an app", c.Idle, usersFrom(fewer.fresh, capacitySignIns))
		},
		func() (operation, error) {
			return h.signIns(ctx, "the same with production's hash", c.Idle, usersFrom(cheap, capacitySignIns))
		},
		func() (operation, error) { return h.texts(ctx, c.Idle) },
		func() (operation, error) { return h.enrolments(ctx, c.Idle) },
		func() (operation, error) { return h.checks(ctx, c.Idle) },
	} {
		o, err := step()
		if err != nil {
			return err
		}
		c.Operations = append(c.Operations, o)
	}
	c.Among = append(c.Among, c.Operations[0])
	c.Among[0].Name = fmt.Sprintf("among %s people", number(float64(fewer.apps)))
	if err := h.highestRate(ctx, c, usersFrom(cheap+capacitySignIns, fewer.costly-capacitySignIns)); err != nil {
		return err
	}
	last, err := h.look(ctx)
	for _, s := range houseServices {
		c.Series[s] = int(last.of(figSeries, s))
	}
	return err
}

// usersFrom are n people with an app, from a first one on.
func usersFrom(first, n int) []user {
	out := make([]user, n)
	for i := range out {
		out[i].n = first + i
	}
	return out
}

// count measures n operations that do does, with what follows them within three seconds.
func (h *house) count(ctx context.Context, name string, idle snapshot, n int, do func() error) (operation, error) {
	progress("%s", name)
	before, err := h.look(ctx)
	if err != nil {
		return operation{}, err
	}
	if err := errors.Join(do(), rest(ctx)); err != nil {
		return operation{}, fmt.Errorf("%s: %w", name, err)
	}
	after, err := h.look(ctx)
	if err != nil {
		return operation{}, err
	}
	o := operation{name, n, after.minus(before).each(n, idle)}
	progress("  CPU %.1f ms, %.1f commands, %.1f calls, %.1f events, %.0f bytes on the bus", 1000*o.Each.sum(figCPU), o.Each.sum(figCommands),
		o.Each.sum(figCalls), o.Each.sum(figEvents), o.Each.sum(figBus))
	return o, nil
}

// signIn is a whole sign-in with an app.
func (h *house) signIn(u user) (token string, err error) {
	s, err := h.http.begin(u)
	if err != nil {
		return "", err
	}
	code, err := u.code(time.Now())
	if err != nil {
		return "", err
	}
	return h.http.verify(s, code)
}

func (h *house) signIns(ctx context.Context, name string, idle snapshot, people []user) (operation, error) {
	return h.count(ctx, name, idle, len(people), func() error {
		next := queueOf(people)
		_, err := drive(2, 5*time.Minute, func(int) error {
			u, err := next()
			if err != nil {
				return err
			}
			_, err = h.signIn(u)
			return err
		})
		return err
	})
}

// sixDigits is the code in a text.
var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// texts signs contacts in: all ask for their text, and then type its code.
func (h *house) texts(ctx context.Context, idle snapshot) (operation, error) {
	people := make([]user, capacityTexts)
	for i := range people {
		people[i] = user{n: i, phone: true}
	}
	return h.count(ctx, "sign-in with a text", idle, len(people), func() error {
		waiting, err := beginAll(h.http, people)
		if err != nil {
			return err
		}
		codes, err := h.codes(ctx, waiting)
		if err != nil {
			return err
		}
		return each(waiting, func(s begun) error {
			_, err := h.http.verify(s, codes[s.user.number()])
			return err
		})
	})
}

// codes waits for the texts of these sign-ins.
func (h *house) codes(ctx context.Context, waiting []begun) (map[string]string, error) {
	begin := time.Now()
	for tick := time.Tick(100 * time.Millisecond); ; <-tick {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.sandbox+"/messages", nil)
		if err != nil {
			return nil, err
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		var all []struct{ To, Body string }
		err = json.NewDecoder(r.Body).Decode(&all)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		codes := map[string]string{}
		for _, m := range all {
			codes[m.To] = sixDigits.FindString(m.Body)
		}
		if len(codes) >= len(waiting) {
			return codes, nil
		}
		if time.Since(begin) > time.Minute {
			return nil, fmt.Errorf("%d of %d texts have come", len(codes), len(waiting))
		}
	}
}

// enrolments lets people who have no authenticator set one up.
func (h *house) enrolments(ctx context.Context, idle snapshot) (operation, error) {
	return h.count(ctx, "enrolment of an app, with its sign-in", idle, fewer.fresh, func() error {
		return each(usersFrom(0, fewer.fresh), h.http.enrol)
	})
}

// enrol signs a person in who has no factor, and sets an authenticator up.
func (c *client) enrol(u user) error {
	var s struct{ ID, Token, Status string }
	err := c.do("POST", "/v1/sign-ins", "", []byte(`{"email":"`+u.email()+`","password":"`+password+`"}`), 201, func(r *fasthttp.Response) error {
		return json.Unmarshal(r.Body(), &s)
	})
	if err != nil {
		return err
	}
	if s.Status == "challenge" {
		return nil // of an earlier try, whose answer came too late
	}
	if s.Status != "enroll" {
		return fmt.Errorf("%s is asked to %q", u.id(), s.Status)
	}
	var e struct{ Key string }
	err = c.do("POST", "/v1/sign-ins/"+s.ID+"/enrollment", s.Token, []byte(`{"factor":"totp"}`), 201, func(r *fasthttp.Response) error {
		return json.Unmarshal(r.Body(), &e)
	})
	if err != nil {
		return err
	}
	code, err := codeOf(e.Key, time.Now())
	if err != nil {
		return err
	}
	return c.do("POST", "/v1/sign-ins/"+s.ID+"/enrollment/confirm", s.Token, []byte(`{"code":"`+code+`","label":"Bench phone"}`), 200, func(*fasthttp.Response) error { return nil })
}

// checks asks who is signed in, again and again.
func (h *house) checks(ctx context.Context, idle snapshot) (operation, error) {
	token, err := h.signIn(user{n: fewer.fresh + capacitySignIns})
	if err != nil {
		return operation{}, err
	}
	return h.count(ctx, "session check", idle, capacityChecks, func() error {
		next := queueOf(indexes(capacityChecks))
		_, err := drive(8, time.Minute, func(int) error {
			if _, err := next(); err != nil {
				return err
			}
			return h.http.session(token)
		})
		return err
	})
}

// highestRate lets 32 clients sign in with production's hash, and looks who has the cores meanwhile.
func (h *house) highestRate(ctx context.Context, c *capacityFigures, people []user) error {
	progress("highest rate")
	before, err := h.look(ctx)
	if err != nil {
		return err
	}
	self, err := cpuOf(os.Getpid())
	if err != nil {
		return err
	}
	next := queueOf(people)
	c.Full.result, err = drive(32, 8*time.Second, func(int) error {
		u, err := next()
		if err != nil {
			return err
		}
		_, err = h.signIn(u)
		return err
	})
	if err != nil {
		return err
	}
	after, err := h.look(ctx)
	if err != nil {
		return err
	}
	selfAfter, err := cpuOf(os.Getpid())
	if err != nil {
		return err
	}
	spent := after.minus(before)
	spent[figCPU+"clients and relays"] = (selfAfter - self).Seconds()
	c.Full.Shares = snapshot{}
	for k, v := range spent {
		c.Full.Shares[k] = v / spent[figWall] / float64(runtime.NumCPU())
	}
	return nil
}

// positive is nothing less than zero: what an idle second does is not exact.
func positive(f float64) float64 { return math.Max(0, f) }
