package fault

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
	"sallyport/test/sut"
)

func TestMain(m *testing.M) { sut.Main(m) }

// house is `sallyport infra` with dispatchers behind relays, and everything that the test does itself: gateway, policy
// service and endpoint.
type house struct {
	tb          testing.TB
	parts       *sut.Parts
	gateway     *bus.Bus
	box         *seal.Box
	db          *store.DB
	book        *book
	traps       traps
	plans       plans
	dispatchers []*dispatcher
	portal      string
	// behind, if any, is what stands between the dispatchers and the store.
	behind func(store string) string
	// patient people do not type a code to hear how it ended; late counts the facts that came when others did.
	patient bool
	late    int
}

// newHouse starts the parts and as many dispatchers.
func newHouse(tb testing.TB, dispatchers int, more map[string]string) *house {
	tb.Helper()
	return newHouseBehind(tb, dispatchers, more, nil)
}

// newHouseBehind does the same, and has the dispatchers' way to the store lead by where behind says.
func newHouseBehind(tb testing.TB, dispatchers int, more map[string]string, behind func(store string) string) *house {
	tb.Helper()
	h := &house{behind: behind, tb: tb, parts: sut.StartParts(tb), book: &book{}, portal: "northwind"}
	policy := h.bus(contract.Policy)
	if err := bus.Consume(tb.Context(), policy, contract.ChallengeEnded, bus.ConsumeOptions{}, func(_ context.Context, ev bus.Delivery[contract.ChallengeFact]) error {
		h.book.hears(ev.Message)
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	h.gateway = h.bus(contract.AuthGateway)
	keys, err := seal.Load(h.parts.Keys[string(contract.AuthGateway)], contract.AuthGateway)
	if err != nil {
		tb.Fatal(err)
	}
	h.box = keys.Bus
	if h.db, err = store.Connect(tb.Context(), store.Options{
		URI: h.storeURI(), Database: "sallyport_sms_dispatcher", Name: "ledger", Log: slog.New(slog.DiscardHandler),
	}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { within(tb, h.db.Close) })
	var starting sync.WaitGroup
	for i := range dispatchers {
		d := h.newDispatcher(string(rune('A'+i)), more)
		h.dispatchers = append(h.dispatchers, d)
		starting.Go(d.start)
	}
	starting.Wait()
	return h
}

func within(tb testing.TB, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := f(ctx); err != nil {
		tb.Errorf("stop: %v", err)
	}
}

func (h *house) natsURL() string  { return h.parts.Env["NATS_URL"] }
func (h *house) storeURI() string { return h.parts.Env["MONGODB_URI"] }

// password is that of a service on NATS.
func (h *house) password(name contract.Service) secret.String {
	h.tb.Helper()
	password, err := permit.Password(filepath.Dir(h.parts.Keys[string(name)]), permit.User(name))
	if err != nil {
		h.tb.Fatal(err)
	}
	return password
}

func (h *house) bus(name contract.Service) *bus.Bus {
	h.tb.Helper()
	b, err := bus.Connect(h.tb.Context(), bus.Options{
		URL: h.natsURL(), Name: name, User: string(name), Password: h.password(name), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		h.tb.Fatal(err)
	}
	h.tb.Cleanup(func() { within(h.tb, b.Close) })
	return b
}

// dispatcher is a place where sms-dispatcher runs, with its own ways to store, bus and endpoint; processes come and go
// there.
type dispatcher struct {
	house *house
	name  string
	env   map[string]string
	ops   string

	mu    sync.Mutex
	life  *life
	lives int
}

// life is one process of a dispatcher.
type life struct {
	name    string
	d       *dispatcher
	p       *sut.Process
	started chan struct{} // closed when p is there, and ready
}

func (h *house) newDispatcher(name string, more map[string]string) *dispatcher {
	h.tb.Helper()
	d := &dispatcher{house: h, name: name, env: maps.Clone(h.parts.Env)}
	at, err := url.Parse(h.storeURI())
	if err != nil {
		h.tb.Fatal(err)
	}
	toBus, err := url.Parse(h.natsURL())
	if err != nil {
		h.tb.Fatal(err)
	}
	documentsAt := at.Host
	if h.behind != nil {
		documentsAt = h.behind(at.Host)
	}
	documents := startRelay(h.tb, documentsAt, &relay{who: d.current, read: frame, up: d.toStore, down: d.fromStore})
	messages := startRelay(h.tb, toBus.Host, &relay{who: d.current, read: some, up: d.toBus, down: d.fromBus})
	at.Host, toBus.Host = documents.addr(), messages.addr()
	ops := sut.FreeAddrs(h.tb, 1)[0]
	d.ops = "http://" + ops
	maps.Copy(d.env, map[string]string{
		"MONGODB_URI": at.String(), "NATS_URL": toBus.String(), "AWS_ENDPOINT_URL_SNS": startEndpoint(h.tb, d).url(),
		"KEYSET_FILE": h.parts.Keys[string(contract.SMSDispatcher)], "OPS_ADDR": ops, "SMS_COUNTRIES": "US",
		// These tests ask for texts as nobody does: the guards against that have tests of their own.
		"SMS_LIMIT_NUMBER": "off", "SMS_LIMIT_PREFIX": "off", "SMS_LIMIT_NETWORK": "off", "SMS_LIMIT_COUNTRY": "off",
		"SMS_LIMIT_PORTAL": "off", "SMS_LIMIT_PERSON": "off", "SMS_CONVERSION_STOP": "off",
	})
	maps.Copy(d.env, more)
	return d
}

// start runs a process and waits until it is ready.
func (d *dispatcher) start() {
	d.mu.Lock()
	d.lives++
	l := &life{name: fmt.Sprintf("%s%d", d.name, d.lives), d: d, started: make(chan struct{})}
	d.life = l
	d.mu.Unlock()
	defer close(l.started)
	var err error
	if l.p, err = sut.Service(d.house.tb, string(contract.SMSDispatcher), d.env); err != nil {
		d.house.tb.Errorf("sms-dispatcher %s: %v\n%s", l.name, err, l.p.Output())
	}
}

// current is the process that runs there now, or ran there last.
func (d *dispatcher) current() *life {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.life
}

// process is what runs, once it is ready.
func (l *life) process() *sut.Process {
	<-l.started
	return l.p
}

// kill ends a process as a crash does.
func (l *life) kill() {
	from := time.Now()
	l.process().Kill9()
	l.d.house.book.happens(Incident{By: l.name, From: from})
}

// goOn lets everybody do what they do for a while, of the host's time: where something must not happen, or happens by the
// clock of processes that nobody can move.
func (h *house) goOn(d time.Duration) {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-h.tb.Context().Done():
	case <-wait.C:
	}
}

// untold is how long the fact of an outcome may be missing before its person types the code, as people do. A dispatcher
// that dies between the outcome and its fact leaves the fact to whoever looks at the challenge next: when its code is
// typed, or else when it expires.
const untold = 4 * time.Second

// settle waits until every challenge that was told has its outcome and its fact, or until patience is over, completes
// the ledger from the store and returns it.
func (h *house) settle(patience time.Duration) Ledger {
	h.tb.Helper()
	ctx, cancel := context.WithTimeout(h.tb.Context(), patience)
	defer cancel()
	known, typed := map[string]Record{}, map[string]bool{}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for open := true; open && ctx.Err() == nil; {
		l := h.book.copy()
		open = false
		heard := map[string]bool{}
		for _, f := range l.Facts {
			heard[f.Challenge] = true
		}
		for _, t := range l.Told {
			id := t.Challenge
			r, ok := known[id]
			if !ok {
				var err error
				if r, err = h.record(ctx, id); err == nil && r.ended() {
					known[id] = r
				}
			}
			open = open || !r.ended() || !heard[id]
			if r.ended() && r.Closed == "" && !heard[id] && !typed[id] && time.Since(r.EndedAt) > untold && !h.patient {
				if handed := h.book.handed(id); len(handed) > 0 {
					typed[id] = true
					_ = h.book.whose(id).confirm(ctx, id, handed[0].Code) // if it is too late, it is
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	h.late += len(typed)
	l := h.book.copy()
	l.Records, l.Shown = map[string]Record{}, h.shown()
	for _, t := range l.Told {
		if r, err := h.record(h.tb.Context(), t.Challenge); err == nil {
			l.Records[t.Challenge] = r
		}
	}
	return l
}

// record is a challenge as the store has it.
func (h *house) record(ctx context.Context, id string) (Record, error) {
	return store.Of[Record](h.db, "challenges").Get(ctx, id)
}

// shown are the deliveries as an admin sees them.
func (h *house) shown() map[string]contract.DeliveryInfo {
	h.tb.Helper()
	out := map[string]contract.DeliveryInfo{}
	req := contract.DeliveriesRequest{Portal: h.portal, Limit: 200}
	for {
		page, err := again(h.tb.Context(), func() (contract.DeliveriesPage, error) {
			return bus.Request(h.tb.Context(), h.gateway, contract.SMSDeliveries, req)
		})
		if err != nil {
			h.tb.Fatal(err)
		}
		for _, d := range page.Items {
			out[d.Challenge] = d
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			return out
		}
	}
}
