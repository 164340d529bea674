package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/store"
	"sallyport/test/sut"
)

// sample is one sign-in, or one visit: when it began, how long it took, and whether it was done or refused.
type sample struct {
	At      time.Time
	Took    time.Duration
	Done    bool
	Refused refusal
}

// refusal is why a sign-in came to nothing.
type refusal string

// The refusals that are no complaint.
const (
	unavailable refusal = "503"
	noText      refusal = "no text in time"
	// tooSoon is the test's own fault, and in no figure: who got no text must wait for the next.
	tooSoon refusal = "429"
)

// ledger is what everybody was told.
type ledger struct {
	mu         sync.Mutex
	samples    []sample
	visits     []sample
	complaints []string
	asked      map[string]int // challenges by text that somebody was told of, by person
	refused    map[string]int // sign-ins by text that were refused when they began, by person
	unsure     map[string]int // challenges of asked whose person was refused later, or got no text
	accepted   map[string]int // right codes, by person and code
	sessions   []string
	soon, idle int
}

func (l *ledger) write(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *ledger) add(s sample)     { l.write(func() { l.samples = append(l.samples, s) }) }
func (l *ledger) visited(s sample) { l.write(func() { l.visits = append(l.visits, s) }) }
func (l *ledger) early()           { l.write(func() { l.soon++ }) }
func (l *ledger) nobody()          { l.write(func() { l.idle++ }) }

// told is a challenge by text that somebody was told of; if not, they were refused, and there may be one all the same.
func (l *ledger) told(who string, told bool) {
	l.write(func() {
		if l.asked == nil {
			l.asked, l.refused, l.unsure = make(map[string]int), make(map[string]int), make(map[string]int)
		}
		if told {
			l.asked[who]++
		} else {
			l.refused[who]++
		}
	})
}

// parted is a challenge that somebody was told of and then refused: its end may be told only when its code is over.
func (l *ledger) parted(who string) { l.write(func() { l.unsure[who]++ }) }

func (l *ledger) complain(invariant, format string, args ...any) {
	text := time.Now().Format("15:04:05.000 ") + invariant + ": " + fmt.Sprintf(format, args...)
	l.write(func() { l.complaints = append(l.complaints, text) })
}

// completes is a code that was accepted, with the session that came of it.
func (l *ledger) completes(who, code string, s sut.SignIn) {
	l.write(func() {
		if l.accepted == nil {
			l.accepted = make(map[string]int)
		}
		l.accepted[who+" "+code]++
		if s.Session != nil {
			l.sessions = append(l.sessions, s.Session.Token)
		}
	})
}

func (l *ledger) anySession() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sessions) == 0 {
		return ""
	}
	return l.sessions[rand.IntN(len(l.sessions))]
}

// between are the sign-ins that began in a time.
func (l *ledger) between(from, to time.Time) []sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	return during(l.samples, from, to)
}

func (l *ledger) visitsBetween(from, to time.Time) []sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	return during(l.visits, from, to)
}

func during(all []sample, from, to time.Time) []sample {
	var out []sample
	for _, s := range all {
		if !s.At.Before(from) && s.At.Before(to) {
			out = append(out, s)
		}
	}
	return out
}

// summary is a line of figures.
func summary(all []sample) string {
	done, refused, textless := 0, 0, 0
	took := durations(all)
	for _, s := range all {
		if s.Done {
			done++
		}
		switch s.Refused {
		case unavailable:
			refused++
		case noText:
			textless++
		}
	}
	return fmt.Sprintf("%4d, done %4d, refused %4d, without text %3d; p50 %v, p99 %v, longest %v", len(all), done, refused, textless, quantile(took, 50), quantile(took, 99), quantile(took, 100))
}

func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*percent+99)/100-1)].Round(time.Millisecond)
}

// calm is how long all must go well for a fault to be over.
const calm = 3 * time.Second

// expectation is within what time a sign-in is done; one in so many may be slower.
type expectation struct {
	within time.Duration
	slow   int
}

// promised is what the product says of itself.
var promised = expectation{time.Second, 100}

func (e expectation) String() string {
	return fmt.Sprintf("(%d of %d within %v)", e.slow-1, e.slow, e.within)
}

// recovery is how long after a moment sign-ins that begin are all done again, in the time that is expected, for a while.
func recovery(all []sample, since time.Time, want expectation) (time.Duration, bool) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b sample) int { return a.At.Compare(b.At) })
	last := since
	if len(all) > 0 {
		last = all[len(all)-1].At
	}
	for from := since; !from.Add(calm).After(last); from = from.Add(100 * time.Millisecond) {
		window := during(all, from, from.Add(calm))
		bad, slow := 0, 0
		for _, s := range window {
			if !s.Done {
				bad++
			} else if s.Took > want.within {
				slow++
			}
		}
		// In make test one may be slow of a window that is smaller than ten.
		if len(window) > slow && bad == 0 && slow*want.slow <= max(len(window), 10) {
			return from.Sub(since), true
		}
	}
	return 0, false
}

// durations are how long those took who were done, the shortest first.
func durations(all []sample) (out []time.Duration) {
	for _, s := range all {
		if s.Done {
			out = append(out, s.Took)
		}
	}
	slices.Sort(out)
	return out
}

// codesOver is when every end is told at the latest: codes live for five minutes.
const codesOver = 6 * time.Minute

// everybody are those who were told of a challenge, or may have been given one.
func (l *ledger) everybody() map[string]bool {
	out := make(map[string]bool)
	for _, m := range []map[string]int{l.asked, l.refused} {
		for who := range m {
			out[who] = true
		}
	}
	return out
}

// record is a challenge as the store has it.
type record struct {
	ID        string `bson:"_id"`
	User      string `bson:"user"`
	State     string `bson:"state"`
	Reason    string `bson:"reason"`
	Closed    string `bson:"closed"`
	Settled   bool   `bson:"settled"`
	Attempts  int    `bson:"attempts"`
	Ambiguous int    `bson:"ambiguous"`

	CreatedAt time.Time `bson:"created_at"`
	EndedAt   time.Time `bson:"ended_at"`
}

// prove holds the ledger against the audit log, the store, the telephones and the gateways. The bound of texts is exact: it
// is of all challenges that the store has of a person, whether or not they, or the audit log, were told of them.
func (c *crowd) prove(tb testing.TB) {
	tb.Helper()
	l := &c.ledger
	db, err := store.Connect(tb.Context(), store.Options{
		URI: c.h.parts.Env["MONGODB_URI"], Database: "sallyport_sms_dispatcher", Name: "ledger", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }() // it was only read
	var ended map[string]int
	var of map[string][]string
	// In a short round no code is over yet: of those who were refused, the end may come later, and is counted as untold.
	missing, untold := 0, 0
	told := func() bool {
		ended, of = c.ends(tb)
		missing, untold = 0, 0
		for who := range l.everybody() {
			sure := l.asked[who] - short(l.unsure[who], 0)
			missing += max(0, sure-len(of[who]))
			untold += max(0, max(l.asked[who], len(c.h.phones.got(phoneOf(who))))-max(sure, len(of[who])))
		}
		return missing+untold == 0
	}
	late, tick := time.After(short(30*time.Second, codesOver)), time.NewTicker(time.Second)
	defer tick.Stop()
	for over := told(); !over; {
		select {
		case <-late:
			over = true
		case <-tick.C:
			over = told()
		}
	}
	if missing > 0 || untold > 0 && long {
		l.complain("I2", "%d challenges that somebody was told of, and %d that were texted or whose person was refused, have no end in the audit log", missing, untold)
	}
	texted := make(map[string]int) // read before the store: what is handed over was reserved there
	for n := range contacts {
		texted[contactID(n)] = len(c.h.phones.got(number(n)))
	}
	records, err := store.Of[record](db, "challenges").Query(tb.Context(), nil, nil, 1_000_000)
	if err != nil {
		tb.Fatal(err)
	}
	byID, byUser := make(map[string]record), make(map[string][]record)
	for _, r := range records {
		byID[r.ID] = r
		byUser[r.User] = append(byUser[r.User], r)
	}
	for who := range l.everybody() {
		if l.asked[who]-short(l.unsure[who], 0) <= len(of[who]) {
			continue
		}
		tb.Logf("%s was told of %d challenges; the log has the ends of %v; the store:", who, l.asked[who], of[who])
		for _, r := range byUser[who] {
			tb.Logf("  %+v", r)
		}
	}
	challenges, texts, more := 0, 0, 0
	for who, ids := range of {
		for _, id := range ids {
			challenges++
			if ended[id] != 1 {
				l.complain("I2", "%s has ended %d times", id, ended[id])
			}
			if r, ok := byID[id]; !ok || r.User != who {
				l.complain("I2", "%s of %s is not in the store", id, who)
			}
		}
	}
	for who, n := range texted {
		may, attempts := 0, 0
		for _, r := range byUser[who] {
			attempts += r.Attempts
			more += r.Ambiguous
			if r.Attempts > 0 {
				may += min(1+r.Ambiguous, 3)
			}
		}
		texts += n
		if n > may || n > attempts {
			l.complain("I3", "%s got %d texts for %d challenges, after %d attempts; %d may be", who, n, len(byUser[who]), attempts, may)
		}
	}
	for what, n := range l.accepted {
		if n != 1 {
			l.complain("I1", "the code of %s was accepted %d times", what, n)
		}
	}
	lost := 0
	for _, token := range l.sessions {
		for i, at := range c.h.gateways {
			if a, err := at.Try(tb.Context(), "GET", "/v1/session", token, nil); err != nil || a.Status != http.StatusOK {
				lost++
				l.complain("session", "gateway %d does not know a session that was given: %s %v", i+1, a, err)
			}
		}
	}
	operate(tb, map[string]string{"MONGODB_URI": c.h.parts.Env["MONGODB_URI"]}, "audit", "verify", "--data="+c.h.parts.Data)
	tb.Logf("challenges %d, each ended once; texts %d, ambiguous %d; codes accepted %d, each once; sessions %d, lost %d; asked too soon %d; turns without anybody free %d; ends not told yet %d",
		challenges, texts, more, len(l.accepted), len(l.sessions), lost, l.soon, l.idle, untold)
	for i, complaint := range l.complaints {
		if i == 20 {
			tb.Errorf("and %d more", len(l.complaints)-i)
			break
		}
		tb.Error(complaint)
	}
}

// ends are the ends of challenges in the audit log: how many of each, and whose.
func (c *crowd) ends(tb testing.TB) (ended map[string]int, of map[string][]string) {
	tb.Helper()
	out := operate(tb, map[string]string{"MONGODB_URI": c.h.parts.Env["MONGODB_URI"]},
		"audit", "export", "--data="+c.h.parts.Data, "--portal="+portal, "--format=jsonl", "--action="+string(contract.AuditChallengeEnded))
	ended, of = make(map[string]int), make(map[string][]string)
	for line := range strings.Lines(out) {
		var e struct {
			User   string
			Detail map[string]string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			tb.Fatalf("%v: %s", err, line)
		}
		id := e.Detail["challenge"]
		if ended[id]++; ended[id] == 1 {
			of[e.User] = append(of[e.User], id)
		}
	}
	return ended, of
}

// phoneOf is a contact's number.
func phoneOf(who string) string {
	n, _ := strconv.Atoi(strings.TrimPrefix(who, "contact-"))
	return number(n)
}
