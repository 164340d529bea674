package sms

import (
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
	"sallyport/pkg/service/servicetest"
)

// usual are the guards of the default settings.
func usual(tb testing.TB) guards {
	tb.Helper()
	s, err := config.Load[Settings](map[string]string{"NATS_URL": "nats://x", "MONGODB_URI": "mongodb://x", "KEYSET_FILE": "x", "AWS_REGION": "us-east-1"})
	if err != nil {
		tb.Fatal(err)
	}
	g, bad := s.guards()
	if bad != nil {
		tb.Fatal(bad)
	}
	return g
}

// town is a portal under attack, in virtual time: the rules of the service, with maps for the store.
type town struct {
	rules     guards
	countries Countries
	people    map[int]*sends
	meters    map[string]meter.Counts
	traffic   map[string]*traffic
	now       time.Time
	events    events
	random    *rand.Rand
	serial    int
	asked     map[bool]int // by whether honest
	sent      map[bool]map[string]int
	refused   map[bool]map[contract.Guard]int
	stops     []string
}

// event is something that happens at a time.
type event struct {
	at time.Time
	n  int // those of one moment happen in their order
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, k int) bool {
	return e[i].at.Before(e[k].at) || e[i].at.Equal(e[k].at) && e[i].n < e[k].n
}
func (e events) Swap(i, k int) { e[i], e[k] = e[k], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any     { old := *e; x := old[len(old)-1]; *e = old[:len(old)-1]; return x }

func newTown(rules guards, countries Countries, seed uint64) *town {
	return &town{
		rules: rules, countries: countries, people: make(map[int]*sends), meters: make(map[string]meter.Counts), traffic: make(map[string]*traffic),
		now: time.Date(2026, 3, 12, 8, 45, 0, 0, time.UTC), random: rand.New(rand.NewPCG(seed, 7)),
		asked: make(map[bool]int), sent: map[bool]map[string]int{true: {}, false: {}}, refused: map[bool]map[contract.Guard]int{true: {}, false: {}},
	}
}

func (w *town) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.events, event{w.now.Add(d), w.serial, do})
}

func (w *town) run() {
	for len(w.events) > 0 {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
}

// asking is a text that somebody asks for.
type asking struct {
	person                 int
	number, network, where string
	honest                 bool
}

// ask does what an open call does, and what the reconciler does when the code is over; typed is after what time the code
// is typed, zero for never. It tells whether the text went out.
func (w *town) ask(x asking, typed time.Duration) bool {
	w.asked[x.honest]++
	refuse := func(g contract.Guard) bool {
		w.refused[x.honest][g]++
		return false
	}
	if !slices.Contains(w.countries, x.where) {
		return refuse("country list")
	}
	p := w.people[x.person]
	if p == nil {
		p = &sends{}
		w.people[x.person] = p
	}
	if e, _ := p.allowed(w.rules.limits[contract.GuardPerson], w.now); e != nil {
		if e.Code == contract.TooSoon {
			return refuse("wait")
		}
		return refuse(contract.GuardPerson)
	}
	t := w.traffic[x.where]
	if t == nil {
		t = &traffic{Sent: meter.Buckets{}, Answered: meter.Buckets{}}
		w.traffic[x.where] = t
	}
	if t.stopped(w.now) {
		return refuse(contract.GuardConversion)
	}
	var counted []contract.Guard
	meters := map[contract.Guard]string{
		contract.GuardNumber: x.number, contract.GuardPrefix: prefixOf(x.number), contract.GuardNetwork: x.network,
		contract.GuardCountry: x.where, contract.GuardPortal: "",
	}
	at := w.now
	back := func() {
		for _, g := range counted {
			w.meters[string(g)+meters[g]].Add(w.rules.limits[g], at, -1)
		}
	}
	for _, g := range []contract.Guard{contract.GuardNumber, contract.GuardPrefix, contract.GuardNetwork, contract.GuardCountry, contract.GuardPortal} {
		m := w.meters[string(g)+meters[g]]
		if m == nil {
			m = make(meter.Counts)
			w.meters[string(g)+meters[g]] = m
		}
		if _, _, reached := m.Reached(w.rules.limits[g], w.now); reached {
			back()
			return refuse(g)
		}
		m.Add(w.rules.limits[g], w.now, 1)
		counted = append(counted, g)
	}
	*p = p.with(w.now, "c", "f", 1)
	serial := p.Serial
	w.sent[x.honest][x.where]++
	settle := func(answered bool) func() {
		return func() {
			if answered {
				back()
				p.Forgiven = max(p.Forgiven, serial)
			}
			if at.Before(t.Since) {
				return
			}
			t.Sent[hours.Bucket(w.now)]++
			if answered {
				t.Answered[hours.Bucket(w.now)]++
			}
			if sent, got := t.fared(w.now); w.rules.conversion.broken(sent, got) {
				rest := t.next(w.now)
				*t = traffic{Sent: meter.Buckets{}, Answered: meter.Buckets{}, Stops: t.Stops + 1, Rest: int64(rest.Seconds()), StoppedUntil: w.now.Add(rest), Since: w.now.Add(rest)}
				w.stops = append(w.stops, fmt.Sprintf("%s at %s for %v", x.where, w.now.Format(time.TimeOnly), rest))
			}
		}
	}
	if typed > 0 {
		w.after(typed, settle(true))
	} else {
		w.after(codeLife, settle(false))
	}
	return true
}

// typing is how long somebody takes from asking for a code to typing it: half of them 20 seconds, few of them minutes.
func (w *town) typing() time.Duration {
	return time.Duration(min(6+18*w.random.ExpFloat64(), 280) * float64(time.Second))
}

// signIn is an honest one: 5 of 100 give up, 6 of 100 ask again after a while, and type the second code.
func (w *town) signIn(x asking) {
	x.honest = true
	switch w.random.IntN(100) {
	case 0, 1, 2, 3, 4:
		w.ask(x, 0)
	case 5, 6, 7, 8, 9, 10:
		w.ask(x, 0)
		w.after(time.Duration(35+w.random.IntN(40))*time.Second, func() {
			// The page lets nobody ask before their time.
			at, _, _ := w.people[x.person].next(w.rules.limits[contract.GuardPerson])
			w.after(max(at.Sub(w.now), 0), func() { w.ask(x, w.typing()) })
		})
	default:
		w.ask(x, w.typing())
	}
}

// honest lets people sign in, so many a second: most of one country, some thousands behind the network of one carrier.
// At nine o'clock the 300 people of an office come within five minutes, behind one network and in one block of numbers.
func (w *town) honest(perSecond float64, span time.Duration) {
	const population = 60_000
	until := w.now.Add(span)
	dial := map[string]string{"US": "+1701", "CA": "+1416", "GB": "+44740"}
	var next func()
	who := 0
	next = func() {
		if !w.now.Before(until) {
			return
		}
		who = (who + 7919) % population // everybody once in fifty minutes
		where := "US"
		if n := who % 50; n == 0 {
			where = "GB"
		} else if n < 4 {
			where = "CA"
		}
		x := asking{person: who, where: where, number: fmt.Sprintf("%s%03d%04d", dial[where], who%700, who%10_000), network: fmt.Sprint("home", who/4)}
		if who%20 == 0 {
			x.network = "carrier"
		}
		w.signIn(x)
		w.after(time.Duration(w.random.ExpFloat64()/perSecond*float64(time.Second)), next)
	}
	w.after(0, next)
	for i := range 300 {
		nine := 15*time.Minute + time.Duration(w.random.IntN(300))*time.Second
		w.after(nine, func() {
			w.signIn(asking{person: population + i, where: "US", number: fmt.Sprintf("+1206555%04d", i), network: "office"})
		})
	}
}

// pump is the attack: every account asks every fifteen seconds for hours, for numbers in 300 blocks of 40 countries that it
// is paid for, from a network of its own each time. No code is ever typed.
func (w *town) pump(accounts int, span time.Duration, where []string) {
	until := w.now.Add(span)
	for a := range accounts {
		var next func()
		next = func() {
			if !w.now.Before(until) {
				return
			}
			block := w.random.IntN(300)
			w.ask(asking{
				person: -1 - a, where: where[block%len(where)], number: fmt.Sprintf("+999%03d%04d", block, w.random.IntN(10_000)),
				network: fmt.Sprint("proxy", w.random.IntN(20_000)),
			}, 0)
			w.after(15*time.Second, next)
		}
		w.after(time.Duration(a)*20*time.Millisecond, next)
	}
}

// The prices are assumptions, of the order of what carriers charged for one text by SNS in 2025.
var assumedPrices = map[string]float64{"US": 0.0075, "CA": 0.0075, "GB": 0.04, "DE": 0.11, "FR": 0.08, "AU": 0.05}

const assumedElsewhere = 0.20

func cost(texts map[string]int) (n int, usd float64) {
	for where, many := range texts {
		price, ok := assumedPrices[where]
		if !ok {
			price = assumedElsewhere
		}
		n, usd = n+many, usd+float64(many)*price
	}
	return n, usd
}

// TestAPumpingAttackBesideHonestTraffic: three hours of an attack by 500 accounts whose passwords are right, on 300
// blocks of numbers in 40 countries, beside 20 honest sign-ins a second for more than an hour of them. With the default settings
// nobody honest is refused, and the attack gets no more than fifteen texts for each account.
func TestAPumpingAttackBesideHonestTraffic(t *testing.T) {
	where := []string{"US", "CA", "GB", "DE", "FR", "AU"}
	for i := range 34 { // countries that are not texted
		where = append(where, fmt.Sprintf("X%d", i))
	}
	const accounts, span = 500, 3 * time.Hour
	attack := func(rules guards, countries Countries, honest bool) *town {
		w := newTown(rules, countries, 42)
		if honest {
			w.honest(20, 70*time.Minute)
		}
		w.after(20*time.Minute, func() { w.pump(accounts, span, where) })
		w.run()
		return w
	}
	rules := usual(t)
	before := guards{limits: map[contract.Guard]meter.Limits{contract.GuardPerson: {{Most: 5, Window: 10 * time.Minute}}}}
	with := attack(rules, Countries(where[:6]), true)
	asked := with.asked[false]
	n, usd := cost(with.sent[false])
	wide, wideUSD := cost(attack(before, Countries(where[:6]), false).sent[false])
	all := make(map[string]int) // without any guard every text goes out
	for i := range asked {
		all[where[i%len(where)]]++
	}
	_, open := cost(all)
	t.Logf("attack: %d accounts, 300 blocks of numbers, 40 countries (6 of them texted), %v: %d texts asked for", accounts, span, asked)
	t.Logf("assumed prices in USD: %v, elsewhere %.2f (an assumption: list prices of 2025 by order of magnitude)", assumedPrices, assumedElsewhere)
	t.Logf("  without any guard:                            %6d texts, %8.0f USD", asked, open)
	t.Logf("  with the country list and 5 in 10 min only:   %6d texts, %8.0f USD", wide, wideUSD)
	t.Logf("  with all guards in their default settings:    %6d texts, %8.0f USD; saved %.0f USD", n, usd, open-usd)
	t.Logf("  refused: %s; stopped: %s", show(with.refused[false]), strings.Join(with.stops, ", "))
	h, _ := cost(with.sent[true])
	t.Logf("honest: 20 sign-ins/s for 70 min, 300 people of one office at nine: %d texts asked for, %d sent, refused: %s", with.asked[true], h, show(with.refused[true]))

	for guard, n := range with.refused[true] {
		t.Errorf("%d honest requests were refused by %s", n, guard)
	}
	if with.asked[true] < 80_000 {
		t.Errorf("only %d honest requests: the traffic is not what it says", with.asked[true])
	}
	if most := accounts * 15; n > most {
		t.Errorf("%d texts of the attack went out, at most %d should", n, most)
	}
	if 2*n > wide {
		t.Errorf("%d texts went out with all guards, %d with the country list and the short limit of a person alone", n, wide)
	}
	for _, country := range []string{"DE", "FR", "AU"} { // nobody honest is there, so the stop alone bounds it
		if n := with.sent[false][country]; n > 600 {
			t.Errorf("%d texts went to %s, which should have been stopped", n, country)
		}
	}
}

func show(by map[contract.Guard]int) string {
	var out []string
	for _, g := range slices.Sorted(maps.Keys(by)) {
		out = append(out, fmt.Sprintf("%s %d", g, by[g]))
	}
	if out == nil {
		return "nobody"
	}
	return strings.Join(out, ", ")
}

// The same through the service itself, with tens of people: who types their codes is never refused, and an attack on a
// country ends with its stop.
func TestAPumpingAttackOnTheService(t *testing.T) {
	w := newWorld(t)
	heard := w.hear()
	w.start("SMS_CONVERSION_STOP", "10%/10")
	var honest []*dana
	for i := range 12 {
		p := w.person(fmt.Sprintf("h%d", i), fmt.Sprintf("+1701555%04d", i))
		p.network = "192.0.2.0/24"
		p.enrol()
		honest = append(honest, p)
	}
	let, refused := 0, 0
	for round := range 8 {
		for i := range 12 {
			a := w.person(fmt.Sprintf("a%d", i), fmt.Sprintf("+4474001%05d", round*12+i))
			a.network = fmt.Sprintf("198.51.%d.0/24", i)
			id := fmt.Sprintf("a%d-%d", i, round)
			switch _, err := a.open(id, contract.ForEnrolment, a.phone); {
			case err == nil:
				let++
				a.publish(id, "requested-"+id)
				w.ends(id)
			case contract.CodeOf(err) == contract.RateLimited, contract.CodeOf(err) == contract.TooSoon:
				refused++
			default:
				t.Fatal(err)
			}
		}
		p := honest[round]
		id := "s-" + p.User
		p.ask(id, contract.ForSignIn, "")
		if err := p.verify(id, contract.ForSignIn, p.next(1)); err != nil {
			t.Fatal(err)
		}
		w.Clock.Add(90 * time.Second)
		if round == 4 { // the codes of the first rounds are over
			servicetest.Eventually(t, "the country is stopped", func() bool { heard.mu.Lock(); defer heard.mu.Unlock(); return len(heard.stops) == 1 })
		}
	}
	if let > 5*12 || refused < 3*12 {
		t.Errorf("%d texts of the attack were let through, %d refused", let, refused)
	}
	told(t, heard, &heard.limits, 0)
	t.Logf("attack: %d texts let through, %d refused; honest: none refused", let, refused)
}
