package fault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/lockout"
	"sallyport/pkg/store"
	"sallyport/test/sut"
)

// long is true in `make fault`.
func long() bool { return os.Getenv("FAULT_LONG") != "" }

// either is how long, or how often, something is done in a short round and in a long one.
func either[T any](short, more T) T {
	if long() {
		return more
	}
	return short
}

// crowd lets people live, some at a time, until all are done.
func crowd(ctx context.Context, at int, lives []func(context.Context)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, at)
	for _, live := range lives {
		slots <- struct{}{}
		all.Go(func() { live(ctx); <-slots })
	}
	all.Wait()
}

// lives are those of people, one with an app and one with a telephone by turns.
func lives(apps, phones []*visitor) (out []func(context.Context)) {
	for n := range max(len(apps), len(phones)) {
		if n < len(apps) {
			out = append(out, apps[n].appLife)
		}
		if n < len(phones) {
			out = append(out, phones[n].textLife)
		}
	}
	return out
}

// TestI1I5I6TheStoreAndItsNetwork has everybody sign in, guess and recover while the way to the document store fails: replies
// are cut off after their writes, the store is gone, and it is slow. No code opens twice, and none is told wrong because its
// answer was lost; nobody gets in without one, and whoever comes when a fault is over lives to the end; no guess is compared that was not counted, and none is counted twice; and
// all is well by itself when the way is free again.
func TestI1I5I6TheStoreAndItsNetwork(t *testing.T) {
	t.Parallel()
	g := startGate(t)
	guessers, size := either(1, 3), either(5, 40)
	const late = 2 // they come when a fault is over
	apps, phones := g.folk("p", 3*size+3*guessers+3*late, 3*size+3*late)
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, "  "+fmt.Sprintf(format, args...)) }

	// Those who only guess are enrolled in peace.
	watched, apps := apps[:3*guessers], apps[3*guessers:]
	for _, v := range watched {
		if s, ok := v.begin(t.Context(), "enroll"); ok {
			v.enrols(t.Context(), s, 0)
		}
	}
	admin := g.admin()

	for n, phase := range []struct {
		name string
		fail func(ctx context.Context)
	}{
		{"replies cut off", func(ctx context.Context) {
			g.front.cutReplies(either(4, 30))
			g.creates(ctx, admin, either(5, 40))
		}},
		{"gone", func(ctx context.Context) {
			for _, how := range []shut{refusing, resetting} {
				g.front.turn(how)
				rest(ctx, either(4*time.Second, 30*time.Second))
			}
		}},
		{"slow by 3 s", func(ctx context.Context) {
			g.front.delay(3 * time.Second)
			rest(ctx, either(8*time.Second, 60*time.Second))
		}},
	} {
		began := time.Now()
		before := g.tally()
		var living sync.WaitGroup
		living.Go(func() {
			crowd(t.Context(), 8, lives(apps[n*size:(n+1)*size], phones[n*size:(n+1)*size]))
		})
		var failing sync.WaitGroup
		stop := make(chan struct{})
		for _, v := range watched[n*guessers : (n+1)*guessers] {
			failing.Go(func() { g.insists(t.Context(), v, stop) })
		}
		if n > 0 { // replies are cut off from the first one on, so that each kind of write is among them
			rest(t.Context(), 500*time.Millisecond) // some are in the middle of it
		}
		notReady := g.unreadyWhile(t.Context(), func() { phase.fail(t.Context()) })
		if n > 0 && notReady < len(sut.Services) {
			t.Errorf("%s: %d of %d services said that they are not ready", phase.name, notReady, len(sut.Services))
		}
		if n > 0 {
			g.front.turn(open)
			g.front.delay(0)
			back := time.Now()
			sut.Eventually(t, 30*time.Second, "all services are ready after the store was "+phase.name, func() bool { return g.ready() == len(sut.Services) })
			note("%-34s %v after it was back", "all services ready", time.Since(back).Round(10*time.Millisecond))
		}
		living.Wait()
		close(stop)
		failing.Wait()
		g.front.cutReplies(0)
		after := g.tally()
		// Whatever the others lost to the fault, those who come after it live to the end.
		from := 3*size + n*late
		crowd(t.Context(), 2*late, lives(apps[from:from+late], phones[from:from+late]))
		if again := g.tally(); again.appLives == after.appLives || again.textLives == after.textLives || again.opened == after.opened {
			t.Errorf("after the store was %s nobody lives to the end: of %d people each, %d with an app and %d with a telephone did; %d codes opened something",
				phase.name, late, again.appLives-after.appLives, again.textLives-after.textLives, again.opened-after.opened)
		}
		note("%-34s %v: %d requests, %d of them answered 503, after %v at most; %d lives lived; right codes answered with conflict: %d, after their time: %d; texts that did not come: %d",
			phase.name, time.Since(began).Round(time.Second), after.asked-before.asked, after.unanswered-before.unanswered,
			after.longest.Round(time.Millisecond), after.appLives+after.textLives-before.appLives-before.textLives, after.elsewhere-before.elsewhere, after.late-before.late, after.textless-before.textless)
	}
	g.settled(watched, note)
	text := t.Name() + ":\n" + strings.Join(notes, "\n") + "\n"
	t.Log("\n" + text)
	report(t, text)
}

// tallied are the counts of a gate's log.
type tallied struct {
	asked, unanswered, elsewhere, late, textless, appLives, textLives, opened int
	longest                                                                   time.Duration
}

// tally reads the counts; the longest wait begins anew.
func (g *gate) tally() tallied {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := tallied{g.asked, g.unanswered, g.elsewhere, g.late, g.textless, g.appLives, g.textLives, len(g.entered), g.longest}
	g.longest = 0
	return out
}

// ready counts the services that say so.
func (g *gate) ready() (n int) {
	for _, name := range sut.Services {
		if g.Ready(name) {
			n++
		}
	}
	return n
}

// unreadyWhile does something and counts the services that said meanwhile that they are not ready.
func (g *gate) unreadyWhile(ctx context.Context, do func()) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := make(map[string]bool)
	var mu sync.Mutex
	for _, name := range sut.Services {
		go func() {
			for ctx.Err() == nil {
				if !g.Ready(name) {
					mu.Lock()
					said[name] = true
					mu.Unlock()
				}
				rest(ctx, 200*time.Millisecond)
			}
		}()
	}
	do()
	mu.Lock()
	defer mu.Unlock()
	return len(said)
}

// insists guesses at somebody's codes, ten at a time, until stop is closed.
func (g *gate) insists(ctx context.Context, v *visitor, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		default:
			g.guesses(ctx, v, 8)
			rest(ctx, 300*time.Millisecond)
		}
	}
}

// admin enrols the demo's Master Admin and returns a session.
func (g *gate) admin() string {
	g.tb.Helper()
	s := g.BeginSignIn("admin@demo.test")
	e := sut.Want[sut.Enrollment](g.tb, http.StatusCreated, g.Do(http.MethodPost, s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"}))
	done := sut.Want[sut.SignIn](g.tb, http.StatusOK, g.Do(http.MethodPost, s.Path("/enrollment/confirm"), s.Token, map[string]string{"code": sut.CodeAt(g.tb, e.Key, time.Now())}))
	if done.Session == nil {
		g.tb.Fatalf("the admin's sign-in is %q", done.Status)
	}
	return done.Session.Token
}

// creates has an admin make accounts, each asked for until it is answered: one account each, whatever was lost.
func (g *gate) creates(ctx context.Context, admin string, n int) {
	v := &visitor{g: g, id: "admin"}
	for i := range n {
		email := fmt.Sprintf("made-%d@north.test", i)
		a, lost := v.ask(ctx, http.MethodPost, "/v1/admin/users", admin, map[string]any{"email": email, "name": "Bo Ek", "audience": "internal"})
		if a.Status != http.StatusCreated && (a.Status != http.StatusConflict || lost == 0) {
			g.tb.Errorf("an account is made, after %d lost answers: %s", lost, a)
		}
		a, _ = v.ask(ctx, http.MethodGet, "/v1/admin/users?query="+email, admin, nil)
		var found struct{ Items []sut.User }
		if a.Decode(&found) != nil || len(found.Items) != 1 {
			g.tb.Errorf("an account was asked for, and these were made: %s", a)
		}
	}
}

// hot are the kinds of writes whose replies must have been cut off.
var hot = []string{
	"count a guess (authenticator)", "accept a step", "enrol an authenticator", "count a guess (recovery)", "spend a recovery code",
	"let a text through", "open a challenge", "reserve an attempt", "end a challenge", "count a guess (text)", "spend a text's code",
	"record an enrolment", "reset a person", "append to the audit log", "create or change a user", "take an address", "note a letter",
}

// counting is what a person's document says of their guesses.
type counting struct {
	Guess lockout.State `bson:"guess"`
}

// noted says which document may hold a letter that waits to be told; without one it stays for a while, in case it shows late.
type noted struct {
	ID         string `bson:"_id"`
	Collection string `bson:"collection"`
	Document   string `bson:"document"`
}

// waiting counts the letters that a service still has to tell.
func waiting(ctx context.Context, db *store.DB) (n int, err error) {
	notes, err := store.Of[noted](db, "outbox").Query(ctx, nil, nil, 10_000)
	if err != nil {
		return 0, err
	}
	for _, at := range notes {
		doc, err := store.Of[struct {
			Outbox map[string]any `bson:"outbox"`
		}](db, at.Collection).Get(ctx, at.Document)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, err
		}
		if doc.Outbox[at.ID] != nil {
			n++
		}
	}
	return n, nil
}

// settled checks, when all is over, what the store has against what people were told.
func (g *gate) settled(watched []*visitor, note func(string, ...any)) {
	g.tb.Helper()
	dbs := map[string]*store.DB{}
	for _, name := range sut.Services {
		db, err := store.Connect(g.tb.Context(), store.Options{
			URI: "mongodb://" + g.front.target + "/?directConnection=true&retryWrites=false", Database: "sallyport_" + strings.ReplaceAll(name, "-", "_"), Name: "ledger", Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			g.tb.Fatal(err)
		}
		g.tb.Cleanup(func() { within(g.tb, db.Close) })
		dbs[name] = db
	}
	over := time.Now()
	for name, db := range dbs {
		sut.Eventually(g.tb, time.Minute, name+" has told what it had to tell (I7)", func() bool {
			n, err := waiting(g.tb.Context(), db)
			return err == nil && n == 0
		})
	}
	note("%-34s %v", "all letters told after", time.Since(over).Round(10*time.Millisecond))

	for what, n := range g.entered {
		if n > 1 {
			g.tb.Errorf("I1: %s opened %d times", what, n)
		}
	}
	compared, counted := 0, 0
	for _, v := range watched {
		doc, err := store.Of[counting](dbs["totp-svc"], "authenticators").Get(g.tb.Context(), "demo/"+v.id)
		if err != nil {
			g.tb.Error(err)
			continue
		}
		calls, twice := g.front.guesses("authenticators/demo/" + v.id)
		heard := g.evaluated["authenticators/demo/"+v.id]
		// The one that was right when they enrolled is counted as a call, and cleared.
		if n := doc.Guess.Failures; n != calls-1 || heard > n || twice > 0 {
			g.tb.Errorf("I6: %s: %d guesses were compared, %d calls counted, %d of them twice, and the count is %d", v.id, heard, calls-1, twice, n)
		}
		compared, counted = compared+heard, counted+doc.Guess.Failures
	}
	note("%-34s %d compared and answered, %d counted", "guesses of those who insisted", compared, counted)
	note("%-34s %d", "codes that opened something, once", len(g.entered))
	cuts := g.front.cuts()
	note("%-34s %s", "replies cut off after the write", counts(cuts))
	for _, kind := range hot {
		if want := either(1, 12); cuts[kind] < want {
			g.tb.Errorf("the reply to %q was cut off %d times; want %d", kind, cuts[kind], want)
		}
	}
	said := g.Operate(0, "audit", "verify").Stdout()
	note("%-34s %s", "sallyport audit verify", strings.TrimSpace(said))
}
