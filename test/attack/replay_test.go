package attack

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/test/sut"
)

// deaf is a way to NATS that, when told so, carries calls to a service and loses what it answers.
type deaf struct {
	l      net.Listener
	target string
	loses  atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
}

func startDeaf(t *testing.T, target string) *deaf {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deaf{l: l, target: target}
	go d.accept()
	t.Cleanup(func() { _ = l.Close(); d.cut() })
	return d
}

func (d *deaf) url() string { return "nats://" + d.l.Addr().String() }

func (d *deaf) accept() {
	for {
		near, err := d.l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", d.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		d.mu.Lock()
		d.conns = append(d.conns, near, far)
		d.mu.Unlock()
		go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
		go func() { _, _ = io.Copy(lossy{d, far}, near); _ = far.Close() }()
	}
}

// lossy swallows what is written while the way is lossy.
type lossy struct {
	d  *deaf
	to io.Writer
}

func (l lossy) Write(p []byte) (int, error) {
	if l.d.loses.Load() {
		return len(p), nil
	}
	return l.to.Write(p)
}

// cut ends all connections, as a network does that has had enough; services connect again.
func (d *deaf) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
}

// TestRule07ALostReplyIsNoWrongCode lets one of two replicas of totp-svc work and loses everything it says: codes that it
// has accepted are right for those who typed them, nobody is asked again, and each counts once.
func TestRule07ALostReplyIsNoWrongCode(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	way := startDeaf(t, strings.TrimPrefix(h.NATSURL, "nats://"))
	h.stop("totp 2")
	h.startWith("totp 2", map[string]string{"NATS_URL": way.url()})
	t.Cleanup(func() { h.stop("totp 2") }) // while there is a way to say goodbye
	people := h.add(t, contract.Internal, 16)
	signIns := make([]sut.SignIn, len(people))
	for i, p := range people {
		p.enrol(t)
		signIns[i] = p.begin(t)
	}
	h.Clock.Add(2 * sut.Step)
	repeated, accepted := h.repeated(), h.counted(appVerifications, "accepted")
	way.loses.Store(true)
	h.Cut = true
	answers := make([]sut.Answer, len(people))
	atOnce(len(people), func(i int) { answers[i] = h.verifyDoor(t, signIns[i])(h.appCode(t, people[i].key, 0)) })
	way.loses.Store(false)
	way.cut()
	got := tally(answers)
	// Both attempts of a call may have come to the deaf one: then the person hears that the time was too short.
	only(t, "codes whose replies were lost", got, in)
	if got[in] == 0 {
		t.Error("nobody got in")
	}
	lost := h.counted(appVerifications, "accepted") - accepted - got[in]
	t.Logf("%v; %d calls ran twice, %d more were accepted than were told", got, h.repeated()-repeated, lost)
	if h.repeated() == repeated && got[unavailable] == 0 {
		t.Error("no reply was lost: nothing was tried")
	}
	// Whoever overheard the code finds it spent, for those who were told and for those who were not.
	for i, p := range people {
		if v := verdict(h.verifyDoor(t, p.begin(t))(h.appCode(t, p.key, 0))); verdict(answers[i]) == in && v != wrongCode {
			t.Errorf("%s: the code once more: %s", p.user, v)
		}
	}
	for _, p := range people[:4] {
		p.last = 0
		h.Clock.Add(sut.Step)
		p.signIn(t)
	}
}

// TestRule07ARequestIdGivesNothing replays what is idempotent: under the same request id by other people and sign-ins, and
// on the bus, with the gateway's own credentials, for another account or enrolment, and under the call id under which
// somebody else was right.
func TestRule07ARequestIdGivesNothing(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Internal, 2)
	p, mallory := people[0], people[1]
	p.enrol(t)
	mallory.enrol(t)
	h.Clock.Add(2 * sut.Step)
	code := h.appCode(t, p.key, 0)
	const id = "7QJ2ZB3NTDYXJ5LW6H4CVKMPRA"
	same := func(s sut.SignIn, code string) sut.Answer {
		t.Helper()
		n, door := h.gate()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.bases[n]+s.Path("/verify"), strings.NewReader(`{"code":"`+code+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.Token)
		req.Header.Set("Content-Type", "application/json")
		for _, name := range []string{"X-Request-Id", "Idempotency-Key", "Call-Id", contract.HeaderCallID, contract.HeaderRequestID} {
			req.Header.Set(name, id)
		}
		a, err := door.Send(req)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if v := verdict(same(p.begin(t), code)); v != in {
		t.Fatalf("the code itself: %s", v)
	}
	for what, a := range map[string]sut.Answer{
		"another sign-in":         same(p.begin(t), code),
		"another sign-in, spaced": same(p.begin(t), code[:3]+" "+code[3:]),
		"another person":          same(mallory.begin(t), code),
	} {
		if v := verdict(a); v != wrongCode {
			t.Errorf("the same request id, %s: %s", what, a)
		}
	}

	// On the bus.
	gate := h.Bus(contract.AuthGateway)
	keys := h.Keys(contract.AuthGateway)
	status := func(p *person) string {
		t.Helper()
		s, err := bus.Request(t.Context(), gate, contract.PolicyDecide, contract.DecideRequest{Account: p.account(), Audience: contract.Internal})
		if err != nil || len(s.Factors) != 1 {
			t.Fatalf("%s: %+v, %v", p.user, s, err)
		}
		return s.Factors[0].Enrolment
	}
	ask := func(who *person, sealedFor *person, enrolment, code string) error {
		t.Helper()
		sealed, err := keys.Bus.SealField(secret.New(code), contract.PurposeTypedCode, sealedFor.account())
		if err != nil {
			t.Fatal(err)
		}
		_, err = bus.Request(context.Background(), gate, contract.TOTPVerify, contract.TOTPVerifyRequest{Account: who.account(), Enrolment: enrolment, Code: sealed})
		return err
	}
	h.Clock.Add(2 * sut.Step)
	code = h.appCode(t, mallory.key, 0)
	for what, err := range map[string]error{
		"a code that was sealed for another": ask(p, mallory, status(p), code),
		"another's enrolment":                ask(p, p, status(mallory), code),
		"another's code":                     ask(p, p, status(p), code),
		"no enrolment":                       ask(p, p, "", code),
		"one's own code, sealed for another": ask(mallory, p, status(mallory), code),
	} {
		if err == nil {
			t.Errorf("on the bus, %s: accepted", what)
		} else if e := (*contract.Error)(nil); !errors.As(err, &e) {
			t.Errorf("on the bus, %s: %v", what, err)
		}
	}
	if err := ask(mallory, mallory, status(mallory), code); err != nil {
		t.Errorf("on the bus, all as it should be: %v", err)
	}
	if err := ask(mallory, mallory, status(mallory), code); err == nil {
		t.Error("on the bus, the same once more: accepted")
	}

	// Under one call id: what was right for one is no answer for another. Each is asked often, so that it comes to both
	// replicas, the one that remembers the right answer among them.
	h.Clock.Add(2 * sut.Step)
	code = h.appCode(t, mallory.key, 0)
	thief, err := intrude(t, strings.TrimPrefix(h.NATSURL, "nats://"), map[string]any{
		"user": string(contract.AuthGateway), "pass": h.Env(contract.AuthGateway, nil).Vars["NATS_PASSWORD"],
	})
	if err != nil {
		t.Fatal(err)
	}
	under := func(who *person, code string) string {
		t.Helper()
		sealed, err := keys.Bus.SealField(secret.New(code), contract.PurposeTypedCode, who.account())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(contract.TOTPVerifyRequest{Account: who.account(), Enrolment: status(who), Code: sealed})
		if err != nil {
			t.Fatal(err)
		}
		return thief.askWith(permit.User(contract.AuthGateway), contract.TOTPVerify.Subject, map[string]string{
			contract.HeaderVersion: contract.Version, contract.HeaderCallID: id,
		}, string(raw))
	}
	if a := under(mallory, code); strings.Contains(a, contract.HeaderErrorCode) {
		t.Fatalf("on the bus, by hand: %s", a)
	}
	for range 10 {
		if a := under(p, code); !strings.Contains(a, contract.HeaderErrorCode+": "+wrongCode) {
			t.Errorf("on the bus, another's code under the call id under which it was right: %s", a)
		}
	}
}
