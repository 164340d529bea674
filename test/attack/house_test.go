package attack

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
	"sallyport/pkg/store"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/policy-svc/policy"
	"sallyport/services/sms-dispatcher/sms"
	"sallyport/services/totp-svc/totp"
	"sallyport/test/sut"
)

// house is the product as an attacker hopes to find it: two of everything that counts or remembers, so that whatever one
// knows the other may have missed. It runs in this process on real parts, on a clock that stands until the test moves it.
type house struct {
	*servicetest.World
	t     *testing.T
	doors []*sut.Client // one for each gateway
	bases []string
	inbox *sut.Sandbox
	sns   string // its address
	extra map[string]string

	turn  atomic.Uint64
	names atomic.Uint64

	mu      sync.Mutex
	stores  map[contract.Service]*store.DB
	running map[string]*service.Service
	past    []prometheus.Gatherer // of all that ever ran
}

// place is where a service runs.
type place struct {
	name    string
	service contract.Service
	start   service.Start
}

var places = []place{
	{"policy", contract.Policy, policy.Start},
	{"sms", contract.SMSDispatcher, sms.Start},
	{"totp 1", contract.TOTP, totp.Start},
	{"totp 2", contract.TOTP, totp.Start},
	{"gateway 1", contract.AuthGateway, gateway.Start},
	{"gateway 2", contract.AuthGateway, gateway.Start},
}

// openHouse starts it, with the demo's portal and accounts. The limits on passwords and texts are off unless extra sets
// them: they would hide what these tests are about.
func openHouse(t *testing.T, extra map[string]string) *house {
	t.Helper()
	h := &house{World: servicetest.New(t), t: t, running: make(map[string]*service.Service), stores: make(map[contract.Service]*store.DB), extra: extra}
	sns, err := embedded.StartSNS(embedded.SNSOptions{Addr: "127.0.0.1:0", Now: h.Clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bounded(t, sns.Close) })
	h.sns, h.inbox = sns.URL(), sut.NewSandbox(t, sns.URL())
	for _, addr := range sut.FreeAddrs(t, 2) {
		h.bases = append(h.bases, "http://"+addr)
		h.doors = append(h.doors, sut.NewClient(t, "http://"+addr))
	}
	t.Cleanup(func() {
		for n := len(places) - 1; n >= 0; n-- {
			h.stop(places[n].name)
		}
	})
	for _, p := range places {
		if h.start(p.name); t.Failed() {
			t.FailNow()
		}
	}
	if err := gateway.SeedDemo(t.Context(), h.running["gateway 1"]); err != nil {
		t.Fatal(err)
	}
	return h
}

func bounded(tb testing.TB, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := f(ctx); err != nil {
		tb.Errorf("stop: %v", err)
	}
}

// start starts what runs at a place. Usable from any goroutine.
func (h *house) start(name string) { h.startWith(name, nil) }

// startWith is start with other settings.
func (h *house) startWith(name string, other map[string]string) {
	for n, p := range places {
		if p.name != name {
			continue
		}
		vars := sut.Fast(map[string]string{
			"PASSWORD_LIMIT_ACCOUNT": "off", "PASSWORD_LIMIT_NETWORK": "off", "TRUSTED_PROXIES": "127.0.0.1",
			"PUBLIC_URL": h.bases[0], "LISTEN_ADDR": strings.TrimPrefix(h.bases[n%2], "http://"),
			"AWS_ENDPOINT_URL_SNS": h.sns, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox",
			"SMS_COUNTRIES": "US", "SMS_LIMIT_PERSON": "off", "SMS_LIMIT_NUMBER": "off", "SMS_LIMIT_PREFIX": "off", "SMS_LIMIT_NETWORK": "off",
			"SMS_LIMIT_COUNTRY": "off", "SMS_LIMIT_PORTAL": "off", "SMS_CONVERSION_STOP": "off",
		})
		maps.Copy(vars, h.extra)
		maps.Copy(vars, other)
		env := h.Env(p.service, vars)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		svc, err := p.start(ctx, env)
		cancel()
		if err != nil {
			h.t.Errorf("%s: %v", name, err)
			return
		}
		h.mu.Lock()
		h.running[name], h.past = svc, append(h.past, env.Metrics)
		h.mu.Unlock()
	}
}

// stop ends what runs at a place, in order. Usable from any goroutine.
func (h *house) stop(name string) {
	h.mu.Lock()
	svc := h.running[name]
	delete(h.running, name)
	h.mu.Unlock()
	if svc != nil {
		bounded(h.t, svc.Stop)
	}
}

// restart stops and starts what runs at some places, one after the other.
func (h *house) restart(names ...string) {
	for _, name := range names {
		h.stop(name)
		h.start(name)
	}
}

// counted is a metric summed over all replicas that ever ran, for some of its results; for all without any.
func (h *house) counted(metric string, results ...string) int {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	sum, found := 0.0, false
	for _, g := range h.past {
		families, err := g.Gather()
		if err != nil {
			h.t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != metric {
				continue
			}
			found = true
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "result" && (len(results) == 0 || oneOf(l.GetValue(), results...)) {
						sum += m.GetCounter().GetValue()
					}
				}
			}
		}
	}
	if !found {
		h.t.Fatalf("there is no metric %s", metric)
	}
	return int(sum)
}

func oneOf[T comparable](v T, of ...T) bool {
	for _, o := range of {
		if v == o {
			return true
		}
	}
	return false
}

// store is the database of a service.
func (h *house) store(service contract.Service) *store.DB {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stores[service] == nil {
		h.stores[service] = h.DB(service)
	}
	return h.stores[service]
}

// The metrics of codes that were typed, and what they call those that were compared with something.
const (
	appVerifications  = "sallyport_totp_verifications_total"
	appConfirmations  = "sallyport_totp_confirmations_total"
	appRecoveries     = "sallyport_totp_recoveries_total"
	textVerifications = "sallyport_sms_verifications_total"
)

// compared is how many authenticator codes were compared with a seed.
func (h *house) compared() int {
	h.t.Helper()
	return h.counted(appVerifications, "accepted", "wrong", "replayed") + h.counted(appConfirmations, "accepted", "wrong", "replayed")
}

// repeated is how many calls with a code ran twice: on a busy machine a gateway asks again, and the other replica looks at
// the same guess once more. It looks at other calls where they are named.
func (h *house) repeated(subjects ...string) int {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(subjects) == 0 {
		subjects = []string{contract.TOTPVerify.Subject, contract.TOTPConfirm.Subject, contract.TOTPRecover.Subject, contract.SMSVerify.Subject, contract.SMSConfirm.Subject}
	}
	sides := map[string]int{}
	for _, g := range h.past {
		families, err := g.Gather()
		if err != nil {
			h.t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "sallyport_bus_call_duration_seconds" {
				continue
			}
			for _, m := range f.GetMetric() {
				label := map[string]string{}
				for _, l := range m.GetLabel() {
					label[l.GetName()] = l.GetValue()
				}
				if oneOf(label["subject"], subjects...) {
					sides[label["side"]] += int(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return max(0, sides["server"]-sides["client"])
}

// pages is a request of a browser: it may bring any cookies, and has a form token of its own.
type pages struct {
	path    string
	signIn  string // the token of a sign-in, in its cookie
	session string
	form    url.Values
}

// formToken is a form token as a browser got it: whoever sends both has it from us.
const formToken = "AAAAAAAAAAAAAAAAAAAAAAAAAA"

// gate is the next gateway's turn, and a way to it: each request claims to come from an address of its own.
func (h *house) gate() (int, *sut.Client) {
	turn := int(h.turn.Add(1))
	n := turn % len(h.doors)
	return n, h.doors[n].From(fmt.Sprintf("203.0.%d.%d", turn%200, 1+turn%250))
}

// call sends a request of the JSON API to the next gateway. One that is not answered fails the test. Usable from any
// goroutine.
func (h *house) call(t testing.TB, method, path, token string, body any) sut.Answer {
	_, door := h.gate()
	a, err := door.Try(context.Background(), method, path, token, body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return a
}

// post is call for what is posted.
func (h *house) post(t testing.TB, path, token string, body any) sut.Answer {
	return h.call(t, http.MethodPost, path, token, body)
}

// submit sends a form to the next gateway, as [house.call] does.
func (h *house) submit(t testing.TB, p pages) sut.Answer {
	n, door := h.gate()
	fields := url.Values{"csrf": {formToken}}
	for k, v := range p.form {
		fields[k] = v
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, h.bases[n]+p.path, strings.NewReader(fields.Encode()))
	if err != nil {
		t.Errorf("%s: %v", p.path, err)
		return sut.Answer{}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	cookies := "sallyport_form=" + formToken
	if p.signIn != "" {
		cookies += "; sallyport_sign_in=" + p.signIn
	}
	if p.session != "" {
		cookies += "; sallyport_session=" + p.session
	}
	req.Header.Set("Cookie", cookies)
	a, err := door.Send(req)
	if err != nil {
		t.Errorf("%s: %v", p.path, err)
	}
	return a
}

// visit opens a page at the next gateway, with a browser's cookies.
func (h *house) visit(t testing.TB, path, cookies string) sut.Answer {
	n, door := h.gate()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, h.bases[n]+path, nil)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return sut.Answer{}
	}
	req.Header.Set("Cookie", cookies)
	a, err := door.Send(req)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return a
}

// atOnce does something from many goroutines at the same moment.
func atOnce(n int, do func(i int)) {
	var begin, done sync.WaitGroup
	begin.Add(1)
	for i := range n {
		done.Go(func() {
			begin.Wait()
			do(i)
		})
	}
	begin.Done()
	done.Wait()
}
