package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// levels are how many clients there are at once.
var levels = []int{1, 8, 32}

// start measures how soon `sallyport up --demo` is ready, and what it holds in memory when it has nothing to do.
func (b *bench) start(ctx context.Context) error {
	dir := filepath.Join(b.dir, "demo")
	var again []time.Duration
	for n := range 6 {
		p, err := startProduct(ctx, b.sallyport, dir, "--demo")
		if err != nil {
			return err
		}
		if n == 0 {
			b.report.Start.First = p.ready
		} else {
			again = append(again, p.ready)
		}
		if n == 5 {
			<-time.After(5 * time.Second)
			if b.report.Start.Idle, err = p.memory("VmRSS"); err != nil {
				return errors.Join(err, p.stop())
			}
		}
		if err := p.stop(); err != nil {
			return err
		}
	}
	slices.Sort(again)
	b.report.Start.Again = again[len(again)/2]
	b.report.line("Ready/first", result{Clients: 1, Took: []time.Duration{b.report.Start.First}, Wall: b.report.Start.First})
	b.report.line("Ready/again", result{Clients: 1, Took: again, Wall: again[len(again)/2] * time.Duration(len(again))})
	return nil
}

// sizes compares the cost of one verification where few and where many people are enrolled: one client, a hundred
// people each, in turns, so that whatever else the machine does hits all alike.
func (b *bench) sizes(ctx context.Context) error {
	if _, err := b.product(ctx); err != nil {
		return err
	}
	compared := []struct {
		name string
		crowd
		product *product
	}{{"small", small, nil}, {"middle", middle, b.middle}, {"large", large, nil}}
	for i, c := range compared {
		if c.product != nil {
			continue
		}
		dir, err := b.installation(c.name, c.crowd)
		if err != nil {
			return err
		}
		p, err := startProduct(ctx, b.sallyport, dir)
		if err != nil {
			return err
		}
		defer p.stop() //nolint:errcheck // it has served its purpose
		compared[i].product = p
	}
	// Each person's app shows three codes that are good now: the last, the current and the next one.
	got := make([]result, len(compared))
	for _, steps := range []int{-1, 0, 1} {
		waiting := make([][]begun, len(compared))
		for i, c := range compared {
			var err error
			if waiting[i], err = beginAll(c.product.http, c.compared()); err != nil {
				return fmt.Errorf("%d people: %w", c.apps, err)
			}
		}
		for slice := range slices.Chunk(indexes(100), 20) {
			for i, c := range compared {
				var prepared []begun
				for _, n := range slice {
					prepared = append(prepared, waiting[i][n])
				}
				one, err := b.verifyAll(c.product.http, 1, prepared, time.Duration(steps)*30*time.Second)
				if err != nil {
					return fmt.Errorf("%d people: %w", c.apps, err)
				}
				got[i] = got[i].plus(one)
			}
		}
	}
	for i, c := range compared {
		got[i].Clients = 1
		b.report.Sizes = append(b.report.Sizes, sized{c.apps, got[i]})
		b.report.line(fmt.Sprintf("VerificationAmong/enrolled=%d", c.apps), got[i])
	}
	return nil
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// beginAll signs people in with their passwords, up to the code.
func beginAll(c *client, people []user) ([]begun, error) {
	var mu sync.Mutex
	out := make([]begun, 0, len(people))
	err := each(people, func(u user) error {
		s, err := c.begin(u)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		out = append(out, s)
		return nil
	})
	return out, err
}

// verifyAll types the code of every prepared sign-in and keeps the sessions.
func (b *bench) verifyAll(c *client, clients int, prepared []begun, ahead time.Duration) (result, error) {
	next := queueOf(prepared)
	tokens := make([][]string, clients)
	r, err := metered(c.pid, func() (result, error) {
		return drive(clients, time.Minute, func(n int) error {
			s, err := next()
			if err != nil {
				return err
			}
			code, err := s.user.code(time.Now().Add(ahead))
			if err != nil {
				return err
			}
			token, err := c.verify(s, code)
			if err == nil {
				tokens[n] = append(tokens[n], token)
			}
			return err
		})
	})
	if b.middle != nil && c == b.middle.http {
		b.open = append(b.open, slices.Concat(tokens...)...)
	}
	return r, err
}

// verifications measures right codes of authenticator apps, each of another person, and their floor, in turns.
func (b *bench) verifications(ctx context.Context) error {
	p, err := b.product(ctx)
	if err != nil {
		return err
	}
	for _, clients := range levels {
		var got, floor result
		for range 2 {
			r, err := b.lab.measure(ctx, clients, verification)
			if err != nil {
				return err
			}
			floor = floor.plus(r)
			// As many as take two seconds at most: the product is not faster than the floor.
			some, err := take(min(clients+int(2*r.perSecond()), 1200), b.people)
			if err != nil {
				return err
			}
			prepared, err := beginAll(p.http, some)
			if err != nil {
				return err
			}
			if r, err = b.verifyAll(p.http, clients, prepared, 0); err != nil {
				return err
			}
			got = got.plus(r)
		}
		got.Clients, floor.Clients = clients, clients
		b.report.compare("Verification", got, floor)
	}
	return nil
}

// sessions measures session checks, and what bare Fiber takes to say the same.
func (b *bench) sessions(ctx context.Context) error {
	p, err := b.product(ctx)
	if err != nil {
		return err
	}
	if len(b.open) < 500 {
		some, err := take(500, b.people)
		if err != nil {
			return err
		}
		prepared, err := beginAll(p.http, some)
		if err != nil {
			return err
		}
		if _, err := b.verifyAll(p.http, 8, prepared, 0); err != nil {
			return err
		}
	}
	tokens := b.open[len(b.open)-500:]
	if err := each(tokens, p.http.session); err != nil {
		return err
	}
	same, err := p.http.sessionPage(tokens[0])
	if err != nil {
		return err
	}
	bare, err := b.bareFiber(ctx, same)
	if err != nil {
		return err
	}
	check := func(c *client, clients int, took time.Duration) (result, error) {
		turn := make([]int, clients)
		return metered(c.pid, func() (result, error) {
			return drive(clients, took, func(n int) error {
				turn[n]++
				return c.session(tokens[(turn[n]*clients+n)%len(tokens)])
			})
		})
	}
	for _, clients := range levels {
		var got, floor result
		for range 2 {
			r, err := check(p.http, clients, 1500*time.Millisecond)
			if err != nil {
				return err
			}
			got = got.plus(r)
			if r, err = check(bare, clients, 1500*time.Millisecond); err != nil {
				return err
			}
			floor = floor.plus(r)
		}
		got.Clients, floor.Clients = clients, clients
		b.report.compare("SessionCheck", got, floor)
	}

	// What the services send to the store by themselves, in as much time without and with session checks.
	const window = 5 * time.Second
	before, err := p.commands(ctx)
	if err != nil {
		return err
	}
	<-time.After(window)
	idle, err := p.commands(ctx)
	if err != nil {
		return err
	}
	r, err := check(p.http, 32, window)
	if err != nil {
		return err
	}
	busy, err := p.commands(ctx)
	if err != nil {
		return err
	}
	b.report.Commands.Checks, b.report.Commands.Idle, b.report.Commands.Busy = len(r.Took), idle-before, busy-idle
	return nil
}

// bareFiber starts a server that says the same as another, and does nothing else.
func (b *bench) bareFiber(ctx context.Context, same page) (*client, error) {
	raw, err := json.Marshal(same)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.yardstick, "fiber")
	cmd.Stdin = bytes.NewReader(raw)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.stops = append(b.stops, func() error { return errors.Join(cmd.Process.Kill(), ignore(cmd.Wait())) })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		return nil, errors.New("the yardstick does not start")
	}
	return newClient(lines.Text(), cmd.Process.Pid), nil
}

// ignore is for the error of a process that was killed.
func ignore(error) error { return nil }

// signIns measures whole sign-ins, password and code, against argon2id alone on as many goroutines as there are cores.
func (b *bench) signIns(ctx context.Context) error {
	p, err := b.product(ctx)
	if err != nil {
		return err
	}
	for _, kind := range []struct {
		name  string
		cost  cost
		who   func() (user, error)
		bound time.Duration
	}{
		{"SignInProductionHash", production, b.costly, 2500 * time.Millisecond},
		{"SignInMinimalHash", minimal, b.people, 1500 * time.Millisecond},
	} {
		for _, clients := range levels {
			if err := p.forgetPeak(); err != nil {
				return err
			}
			var got, floor result
			for range 2 {
				var mu sync.Mutex
				r, err := metered(p.http.pid, func() (result, error) {
					return drive(clients, kind.bound, func(int) error {
						mu.Lock()
						u, err := kind.who()
						mu.Unlock()
						if err != nil {
							return err
						}
						s, err := p.http.begin(u)
						if err != nil {
							return err
						}
						code, err := u.code(time.Now())
						if err != nil {
							return err
						}
						_, err = p.http.verify(s, code)
						return err
					})
				})
				if err != nil {
					return err
				}
				got = got.plus(r)
				if kind.cost == minimal {
					continue // its hash is no floor of anything
				}
				cores := min(clients, runtime.GOMAXPROCS(0))
				r, err = metered(os.Getpid(), func() (result, error) {
					return drive(cores, time.Second, func(int) error { _ = kind.cost.key(); return nil })
				})
				if err != nil {
					return err
				}
				floor = floor.plus(r)
			}
			got.Clients, floor.Clients = clients, clients
			b.report.compare(kind.name, got, floor)
			if kind.cost == production && clients == 32 {
				if b.report.PeakAt32, err = p.memory("VmHWM"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// texts measures how soon an accepted challenge is handed over to SNS: one person after the other, and in a rush.
func (b *bench) texts(ctx context.Context) error {
	p, err := b.product(ctx)
	if err != nil {
		return err
	}
	var contacts []user
	for n := range middle.contacts {
		contacts = append(contacts, user{n: n, phone: true})
	}
	for _, rush := range []struct {
		clients int
		who     []user
	}{{1, contacts[:80]}, {8, contacts[80:380]}, {32, contacts[380:]}} {
		var mu sync.Mutex
		accepted := map[string]time.Time{}
		next := queueOf(rush.who)
		begin := time.Now()
		in, err := drive(rush.clients, time.Minute, func(int) error {
			u, err := next()
			if err != nil {
				return err
			}
			if _, err := p.http.begin(u); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			accepted[u.number()] = time.Now()
			return nil
		})
		if err != nil {
			return err
		}
		arrived, err := p.arrivals(ctx, accepted)
		if err != nil {
			return err
		}
		out := result{Clients: rush.clients}
		for to, at := range arrived {
			out.Took = append(out.Took, max(0, at.Sub(accepted[to])))
			out.Wall = max(out.Wall, at.Sub(begin))
		}
		b.report.Texts = append(b.report.Texts, text{in, out})
		b.report.line(fmt.Sprintf("TextHandedOver/clients=%d", rush.clients), out)
	}
	return nil
}

// arrivals waits until every number has its text and returns when it got it.
func (p *product) arrivals(ctx context.Context, wanted map[string]time.Time) (map[string]time.Time, error) {
	deadline := time.After(time.Minute)
	for tick := time.Tick(100 * time.Millisecond); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.sandbox+"/messages", nil)
		if err != nil {
			return nil, err
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		var all []struct {
			To string
			At time.Time
		}
		err = json.NewDecoder(r.Body).Decode(&all)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		got := map[string]time.Time{}
		for _, m := range all {
			if _, ok := wanted[m.To]; ok {
				got[m.To] = m.At
			}
		}
		if len(got) == len(wanted) {
			return got, nil
		}
		select {
		case <-deadline:
			return nil, fmt.Errorf("%d of %d texts were handed over", len(got), len(wanted))
		case <-tick:
		}
	}
}

// floors measures the parts alone.
func (b *bench) floors(ctx context.Context) error {
	if _, err := b.product(ctx); err != nil {
		return err
	}
	for _, clients := range levels {
		cmd := exec.CommandContext(ctx, b.yardstick, "nats", b.lab.nats.URL(), fmt.Sprint(clients), floorTime.String())
		raw, err := cmd.Output()
		if err != nil {
			return err
		}
		var r result
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		b.report.floor("NATSRaw", "a request and its reply through nats.go alone, from another process", r)
	}
	for _, f := range floors {
		for _, clients := range levels {
			r, err := b.lab.measure(ctx, clients, f.client)
			if err != nil {
				return err
			}
			b.report.floor(f.name, f.says, r)
		}
	}
	for _, c := range []struct {
		name, says string
		cost
	}{
		{"Argon2idProduction", "a password hash of production's cost (7 MiB, 5 passes)", production},
		{"Argon2idMinimal", "a password hash of minimal cost (64 KiB, 1 pass)", minimal},
	} {
		for _, clients := range []int{1, runtime.GOMAXPROCS(0)} {
			r, err := drive(clients, time.Second, func(int) error { _ = c.key(); return nil })
			if err != nil {
				return err
			}
			b.report.floor(c.name, c.says, r)
		}
	}
	return nil
}
