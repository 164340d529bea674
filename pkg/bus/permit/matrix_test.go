package permit_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/bustest"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
)

// hall is a NATS with its users, where everything is made.
type hall struct {
	tb        testing.TB
	url       string
	passwords permit.Passwords
}

func open(tb testing.TB) *hall {
	tb.Helper()
	dir := tb.TempDir()
	passwords, err := permit.Generate(filepath.Join(dir, "keys"))
	if err != nil {
		tb.Fatal(err)
	}
	n, err := embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(dir, "nats"), Addr: "127.0.0.1:0", Users: passwords})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = n.Close(context.Background()) })
	return prepared(tb, n.URL(), passwords)
}

func prepared(tb testing.TB, url string, passwords permit.Passwords) *hall {
	tb.Helper()
	h := &hall{tb, url, passwords}
	if err := bus.Prepare(tb.Context(), h.options(permit.Keeper)); err != nil {
		tb.Fatal(err)
	}
	return h
}

func (h *hall) options(u permit.User) bus.Options {
	return bus.Options{URL: h.url, Name: contract.Service(u), User: string(u), Password: h.passwords[u], Log: slog.New(slog.DiscardHandler)}
}

// as connects as a user, past all that package bus takes care of.
func (h *hall) as(u permit.User) *nats.Conn {
	h.tb.Helper()
	nc, err := nats.Connect(h.url, nats.UserInfo(string(u), h.passwords[u].Reveal()), nats.CustomInboxPrefix(permit.Inbox(u)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		h.tb.Fatal(err)
	}
	h.tb.Cleanup(nc.Close)
	return nc
}

// bus connects as a service does.
func (h *hall) bus(s contract.Service) *bus.Bus {
	h.tb.Helper()
	b, err := bus.Connect(h.tb.Context(), h.options(permit.User(s)))
	if err != nil {
		h.tb.Fatal(err)
	}
	h.tb.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// probe is one thing that somebody may try, and who may do it.
type probe struct {
	subject, queue string
	subscribe      bool
	may            []permit.User
}

func (p probe) String() string {
	if p.subscribe {
		return strings.TrimSpace("subscribe " + p.subject + " " + p.queue)
	}
	return "publish " + p.subject
}

// try does it and tells whether the server let it pass. An error about a subject comes before the answer to the flush.
func (p probe) try(tb testing.TB, nc *nats.Conn) bool {
	tb.Helper()
	verb := "Publish"
	if p.subscribe {
		verb = "Subscription"
		sub, err := nc.QueueSubscribeSync(p.subject, p.queue)
		if err != nil {
			tb.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	} else if err := nc.Publish(p.subject, []byte("?")); err != nil {
		tb.Fatal(err)
	}
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		tb.Fatal(err)
	}
	refusal := fmt.Sprintf(" for %s to %q", verb, p.subject)
	if p.queue != "" {
		refusal += fmt.Sprintf(" using queue %q", p.queue)
	}
	err := nc.LastError()
	return !errors.Is(err, nats.ErrPermissionViolation) || !strings.HasSuffix(err.Error(), refusal)
}

func users(services []contract.Service, more ...permit.User) []permit.User {
	for _, s := range services {
		more = append(more, permit.User(s))
	}
	return more
}

// probes are every subject that there is, with who may use it as the contract has it, and those that nobody may.
func probes() []probe {
	var all []probe
	pub := func(subject string, may ...permit.User) { all = append(all, probe{subject: subject, may: may}) }
	sub := func(subject, queue string, may ...permit.User) {
		all = append(all, probe{subject: subject, queue: queue, subscribe: true, may: may})
	}
	everybody := permit.Users()
	services := everybody[:4]

	part := make(map[contract.Stream][]permit.User) // who has to do with a stream
	for _, m := range contract.Messages() {
		if m.Kind == "call" {
			pub(m.Subject, users(m.From)...)
			for _, s := range services {
				if slices.Contains(m.To, contract.Service(s)) {
					sub(m.Subject, string(s), s)
				} else {
					sub(m.Subject, string(s))
				}
			}
		} else {
			pub(m.Subject, users(m.From, permit.Operator)...)
			sub(m.Subject, string(services[3]))
			part[m.Stream] = append(part[m.Stream], users(append(m.From, m.To...))...)
		}
		sub(m.Subject, "") // not even who answers it may listen beside its queue
	}
	part[contract.StreamDead] = services
	for _, subject := range []string{"sallyport.call.policy.unheard", "sallyport.call.x", "sallyport.job.x", "sallyport.fact.x", "sallyport.dead.x", "sallyport.x", "x"} {
		pub(subject)
	}
	for _, u := range everybody {
		inbox, dead := permit.Inbox(u), contract.DeadSubject(contract.Service(u))
		pub(inbox + ".a.b")
		sub(inbox+".>", "", u)
		sub(inbox+".a.*", "", u)
		if slices.Contains(services, u) {
			pub(dead, u)
		} else {
			pub(dead)
		}
		sub(dead, "")
	}
	for _, subject := range []string{
		">", "*", "*.>", "sallyport.>", "sallyport.*.>", "sallyport.call.>", "sallyport.job.>", "sallyport.fact.>", "sallyport.dead.>",
		"_INBOX.>", "_INBOX_*.>", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$JS.EVENT.>", "$KV.>", "$SYS.>", "$SYS.ACCOUNT.>", "$SRV.>", "_R_.>",
	} {
		sub(subject, "")
		sub(subject, string(contract.TOTP))
	}
	for _, subject := range []string{
		"_INBOX.a", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO.x", "$SYS.REQ.ACCOUNT.G.CONNZ", "$SRV.PING", "$MQTT.sub.x", "_R_.x",
		"$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.ACCOUNT.PURGE.G", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE",
		"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.TEMPLATE.CREATE.x", "$JS.API.STREAM.UPDATE.OTHER",
	} {
		pub(subject)
	}
	pub("$JS.API.INFO", everybody...)

	owners := make(map[string]permit.User) // of buckets, by stream
	for _, b := range contract.Buckets() {
		owners["KV_"+b.Name] = permit.User(b.Owner)
	}
	stream := func(name string, looks []permit.User) {
		pub("$JS.API.STREAM.INFO."+name, looks...)
		pub("$JS.API.STREAM.CREATE."+name, permit.Keeper)
		pub("$JS.API.STREAM.UPDATE."+name, permit.Keeper)
		for _, verb := range []string{"DELETE", "PURGE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN", "PEER.REMOVE"} {
			pub("$JS.API.STREAM." + verb + "." + name)
		}
		for _, verb := range []string{"GET", "DELETE"} {
			var readers []permit.User
			if name == string(contract.StreamDead) {
				readers = append(readers, permit.Operator)
			}
			if owner, ok := owners[name]; ok && verb == "GET" {
				readers = append(readers, owner)
			}
			pub("$JS.API.STREAM.MSG."+verb+"."+name, readers...)
		}
		for _, subject := range []string{
			"$JS.API.DIRECT.GET." + name, "$JS.API.CONSUMER.CREATE." + name, "$JS.API.CONSUMER.CREATE." + name + ".mine",
			"$JS.API.CONSUMER.CREATE." + name + ".mine.>", "$JS.API.CONSUMER.DURABLE.CREATE." + name + ".mine",
			"$JS.API.CONSUMER.NAMES." + name, "$JS.API.CONSUMER.LIST." + name, "$JS.ACK." + name + ".mine.1.1.1.1.0",
		} {
			pub(subject)
		}
	}
	for _, s := range contract.Streams() {
		name := string(s.Name)
		stream(name, append(slices.Clone(part[s.Name]), permit.Operator, permit.Keeper))
		for _, subject := range s.Subjects {
			pub("$JS.API.CONSUMER.CREATE." + name + ".mine." + strings.TrimSuffix(subject, ">") + "x")
		}
		pub("$JS.API.DIRECT.GET." + name + ".sallyport.dead.x")
		pub("$JS.FC." + name + ".mine.x")
	}
	for _, m := range contract.Messages() {
		for _, to := range m.To {
			if m.Kind == "call" {
				continue
			}
			name := string(to) + "-" + strings.ReplaceAll(strings.TrimPrefix(m.Subject, "sallyport."), ".", "-")
			at, owner := string(m.Stream)+"."+name, permit.User(to)
			pub("$JS.API.CONSUMER.INFO."+at, owner)
			pub("$JS.API.CONSUMER.MSG.NEXT."+at, owner)
			pub("$JS.ACK."+at+".1.1.1.1.0", owner)
			pub("$JS.API.CONSUMER.CREATE."+at+"."+m.Subject, permit.Keeper)
			pub("$JS.API.CONSUMER.CREATE." + at)
			pub("$JS.API.CONSUMER.CREATE." + at + ".sallyport.fact.x")
			for _, verb := range []string{"DELETE", "DURABLE.CREATE", "PAUSE", "RESET", "UNPIN", "LEADER.STEPDOWN"} {
				pub("$JS.API.CONSUMER." + verb + "." + at)
			}
		}
	}
	for _, b := range contract.Buckets() {
		name, key, owner := "KV_"+b.Name, "$KV."+b.Name+".k", permit.User(b.Owner)
		stream(name, []permit.User{owner, permit.Operator, permit.Keeper})
		pub(key, owner)
		sub(key, "")
		sub("$KV."+b.Name+".>", "")
		pub("$JS.API.DIRECT.GET." + name + "." + key) // any copy would answer, however old it is
		var watcher []permit.User
		if b.Watched {
			watcher = append(watcher, owner)
		}
		pub("$JS.API.CONSUMER.CREATE."+name+".w."+key, watcher...)
		pub("$JS.API.CONSUMER.DELETE."+name+".w", watcher...)
		pub("$JS.API.CONSUMER.MSG.NEXT." + name + ".w")
		pub("$JS.API.CONSUMER.INFO." + name + ".w")
		pub("$JS.FC."+name+".w.x", watcher...)
	}
	return all
}

// TestEveryUserOnEverySubject tries each subject with each user's credentials: what the contract gives somebody to do
// works, and everything else is refused.
func TestEveryUserOnEverySubject(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { everyUserOnEverySubject(t, open(t)) })
	t.Run("nats.conf", func(t *testing.T) { everyUserOnEverySubject(t, openConf(t)) })
}

func everyUserOnEverySubject(t *testing.T, h *hall) {
	all := probes()
	for _, u := range permit.Users() {
		nc := h.as(u)
		passed := 0
		for _, p := range all {
			got, want := p.try(t, nc), slices.Contains(p.may, u)
			if got != want {
				t.Errorf("%s, %s: passes %v, want %v", u, p, got, want)
			}
			if got {
				passed++
			}
		}
		if u != permit.Keeper && passed < 5 {
			t.Errorf("%s may do %d things: this proves nothing", u, passed)
		}
	}
	if len(all) < 500 {
		t.Errorf("%d subjects were tried: some are missing", len(all))
	}
}

// What must stay so whatever the contract says one day.
func TestWhatNobodyMayEverDo(t *testing.T) {
	const gateway, totp, sms, policy = permit.User(contract.AuthGateway), permit.User(contract.TOTP), permit.User(contract.SMSDispatcher), permit.User(contract.Policy)
	h := open(t)
	for _, c := range []struct {
		what string
		probe
	}{
		{"only the gateway and an operator ask for texts", probe{subject: "sallyport.job.challenge.requested", may: []permit.User{gateway, permit.Operator}}},
		{"only the gateway asks whether a code is right", probe{subject: "sallyport.call.totp.verify", may: []permit.User{gateway}}},
		{"only the gateway asks whether a code is right", probe{subject: "sallyport.call.sms.verify", may: []permit.User{gateway}}},
		{"only totp-svc says whether a code is right", probe{subject: "sallyport.call.totp.verify", queue: string(contract.TOTP), subscribe: true, may: []permit.User{totp}}},
		{"only sms-dispatcher says whether a code is right", probe{subject: "sallyport.call.sms.verify", queue: string(contract.SMSDispatcher), subscribe: true, may: []permit.User{sms}}},
		{"only policy-svc says who must answer a challenge", probe{subject: "sallyport.call.policy.decide", queue: string(contract.Policy), subscribe: true, may: []permit.User{policy}}},
		{"only policy-svc and an operator reset people", probe{subject: "sallyport.fact.enrolment.reset", may: []permit.User{policy, permit.Operator}}},
		{"only the gateway reads sessions", probe{subject: "$JS.API.STREAM.MSG.GET.KV_SALLYPORT_SESSIONS", may: []permit.User{gateway}}},
		{"only the gateway watches sessions", probe{subject: "$JS.API.CONSUMER.CREATE.KV_SALLYPORT_SESSIONS.w.$KV.SALLYPORT_SESSIONS.>", may: []permit.User{gateway}}},
		{"only the gateway makes sessions", probe{subject: "$KV.SALLYPORT_SESSIONS.k", may: []permit.User{gateway}}},
		{"nobody listens to sessions", probe{subject: "$KV.SALLYPORT_SESSIONS.>", subscribe: true}},
		{"nobody hears the gateway's answers but the gateway", probe{subject: "_INBOX_auth-gateway.>", subscribe: true, may: []permit.User{gateway}}},
		{"nobody listens to everything", probe{subject: ">", subscribe: true}},
		{"nobody deletes the log of facts", probe{subject: "$JS.API.STREAM.DELETE.SALLYPORT_FACTS"}},
		{"nobody empties the queue of jobs", probe{subject: "$JS.API.STREAM.PURGE.SALLYPORT_JOBS"}},
		{"only the keeper says where a stream comes from and goes", probe{subject: "$JS.API.STREAM.UPDATE.SALLYPORT_FACTS", may: []permit.User{permit.Keeper}}},
		{"only an operator reads dead letters", probe{subject: "$JS.API.STREAM.MSG.GET.SALLYPORT_DEAD", may: []permit.User{permit.Operator}}},
	} {
		for _, u := range permit.Users() {
			if got, want := c.try(t, h.as(u)), slices.Contains(c.may, u); got != want {
				t.Errorf("%s: %s, %s: passes %v, want %v", c.what, u, c.probe, got, want)
			}
		}
	}
}

func TestNobodyWithoutAPasswordComesIn(t *testing.T) {
	h := open(t)
	for name, option := range map[string]nats.Option{
		"anonymous":       nats.Name("x"),
		"no password":     nats.UserInfo("policy-svc", ""),
		"wrong password":  nats.UserInfo("policy-svc", "hunter2"),
		"another's":       nats.UserInfo("policy-svc", h.passwords["totp-svc"].Reveal()),
		"unknown user":    nats.UserInfo("root", h.passwords["totp-svc"].Reveal()),
		"password as key": nats.Token(h.passwords["totp-svc"].Reveal()),
	} {
		if nc, err := nats.Connect(h.url, option); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
			nc.Close()
		}
	}
}

// An answer goes to who asked, once, and only while somebody may still wait for it.
func TestAnswersGoToWhoAsked(t *testing.T) {
	h := open(t)
	gateway, totp, sms := h.as("auth-gateway"), h.as("totp-svc"), h.as("sms-dispatcher")
	var inbox string
	sub, err := totp.QueueSubscribe(contract.TOTPVerify.Subject, "totp-svc", func(m *nats.Msg) {
		inbox = m.Reply
		_ = m.Respond([]byte("right"))
		_ = m.Respond([]byte("and again"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sub.SetPendingLimits(10, 1<<20), totp.Flush()); err != nil {
		t.Fatal(err)
	}
	m, err := gateway.Request(contract.TOTPVerify.Subject, nil, 5*time.Second)
	if err != nil || string(m.Data) != "right" || !strings.HasPrefix(inbox, permit.Inbox("auth-gateway")+".") {
		t.Fatalf("%v, %v, %q", m, err, inbox)
	}
	if err := totp.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := totp.LastError(); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("a second answer passes: %v", err)
	}
	if (probe{subject: inbox}).try(t, sms) {
		t.Error("somebody who was not asked answers")
	}
}

// The server does not look where a request asks for its answer to go, so a stored event can be brought anywhere. It
// comes under its own subject there: it is no call, no session and no job. That there is no event is an answer, too, and comes
// under the subject that was asked for: with nothing in it, which is no call, no session and no job either.
func TestAnEventBroughtElsewhereIsNothing(t *testing.T) {
	h := open(t)
	totp, gateway := h.bus(contract.TOTP), h.bus(contract.AuthGateway)
	called := make(chan struct{}, 10)
	if err := bus.Handle(totp, contract.TOTPUnlock, func(context.Context, contract.UnlockRequest) (contract.UnlockReply, error) {
		called <- struct{}{}
		return contract.UnlockReply{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	sessions, err := bus.OpenKV[map[string]string](t.Context(), gateway, contract.Sessions)
	if err != nil {
		t.Fatal(err)
	}
	policy := h.as("policy-svc")
	event := nats.NewMsg(contract.EnrolmentReset.Subject)
	event.Data, event.Header = []byte(`{"portal":"p","user":"u"}`), nats.Header{contract.HeaderVersion: {contract.Version}}
	for _, target := range []string{contract.TOTPUnlock.Subject, "$KV." + contract.Sessions.Name + ".k", contract.ChallengeRequested.Subject} {
		if _, err := policy.RequestMsg(event, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		fetch := nats.NewMsg("$JS.API.CONSUMER.MSG.NEXT." + string(contract.StreamFacts) + "." + permit.Durable(contract.Policy, contract.EnrolmentReset.Subject))
		fetch.Reply, fetch.Data = target, []byte(`{"batch":1,"expires":5000000000}`)
		if err := errors.Join(policy.PublishMsg(fetch), policy.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{contract.TOTPUnlock.Subject, "$KV." + contract.Sessions.Name + ".empty", contract.ChallengeRequested.Subject} {
		fetch := nats.NewMsg("$JS.API.CONSUMER.MSG.NEXT." + string(contract.StreamFacts) + "." + permit.Durable(contract.Policy, contract.EnrolmentConfirmed.Subject))
		fetch.Reply, fetch.Data = target, []byte(`{"batch":1,"no_wait":true}`)
		if err := errors.Join(policy.PublishMsg(fetch), policy.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	jobs := make(chan contract.ChallengeRequest, 10)
	if err := bus.Consume(t.Context(), h.bus(contract.SMSDispatcher), contract.ChallengeRequested, bus.ConsumeOptions{}, func(_ context.Context, d bus.Delivery[contract.ChallengeRequest]) error {
		jobs <- d.Message
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// One that is real comes after all that was brought.
	if err := bus.Publish(t.Context(), gateway, contract.ChallengeRequested, "c1", contract.ChallengeRequest{Challenge: "real"}); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Request(t.Context(), gateway, contract.TOTPUnlock, contract.UnlockRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := <-jobs; got.Challenge != "real" || len(jobs) > 0 {
		t.Errorf("a job that nobody published: %+v", got)
	}
	if len(called) != 1 {
		t.Errorf("%d calls were answered, one was made", len(called))
	}
	if v, _, err := sessions.Get(t.Context(), "k"); !errors.Is(err, bus.ErrKeyNotFound) {
		t.Errorf("a session that nobody made: %v, %v", v, err)
	}
	if v, _, err := sessions.Get(t.Context(), "empty"); err == nil {
		t.Errorf("a session of nothing: %v", v)
	}
}

// An answerer is not made to publish where its caller may not.
func TestACallThatNamesNoInboxIsNotAnswered(t *testing.T) {
	h := open(t)
	ran := make(chan struct{}, 10)
	if err := bus.Handle(h.bus(contract.Policy), contract.PolicySettings, func(context.Context, contract.SettingsRequest) (contract.Settings, error) {
		ran <- struct{}{}
		return contract.Settings{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	gateway := h.as("auth-gateway")
	for _, reply := range []string{"", contract.EnrolmentReset.Subject, "$JS.API.STREAM.DELETE.SALLYPORT_FACTS"} {
		m := nats.NewMsg(contract.PolicySettings.Subject)
		m.Reply, m.Data, m.Header = reply, []byte(`{}`), nats.Header{contract.HeaderVersion: {contract.Version}}
		if err := gateway.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bus.Request(t.Context(), h.bus(contract.AuthGateway), contract.PolicySettings, contract.SettingsRequest{}); err != nil {
		t.Fatal(err)
	}
	if len(ran) != 1 {
		t.Errorf("%d calls were answered, one had an inbox", len(ran))
	}
}

// A service whose user may not do what it is built for says so at start.
func TestAUserThatMayNotIsToldSo(t *testing.T) {
	h := open(t)
	stray := contract.Call[contract.Empty, contract.Empty]{Subject: "sallyport.call.policy.unheard", Server: contract.Policy}
	err := bus.Handle(h.bus(contract.Policy), stray, func(context.Context, contract.Empty) (contract.Empty, error) { return contract.Empty{}, nil })
	if !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("%v", err)
	}
	if err := bus.Handle(h.bus(contract.Policy), contract.PolicySettings, func(context.Context, contract.SettingsRequest) (contract.Settings, error) {
		return contract.Settings{}, nil
	}); err != nil {
		t.Error(err)
	}
}

func TestPasswords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	first, err := permit.Generate(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, u := range permit.Users() {
		info, err := os.Stat(permit.PasswordFile(dir, u))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", u, info, err)
		}
		text := first[u].Reveal()
		if len(text) < 26 || seen[text] {
			t.Errorf("%s: a weak password, or one used twice", u)
		}
		seen[text] = true
	}
	lost := permit.PasswordFile(dir, permit.Operator)
	if err := os.Remove(lost); err != nil {
		t.Fatal(err)
	}
	second, err := permit.Generate(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range permit.Users() {
		if same := first[u].Reveal() == second[u].Reveal(); same != (u != permit.Operator) {
			t.Errorf("%s: the same again: %v", u, same)
		}
	}
	if err := os.Chmod(lost, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := permit.Generate(dir); err == nil || !strings.Contains(err.Error(), lost) {
		t.Errorf("a password that everybody may read: %v", err)
	}
	if err := errors.Join(os.Chmod(lost, 0o600), os.Truncate(lost, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := permit.Generate(dir); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty password: %v", err)
	}
	if _, err := permit.Password(t.TempDir(), permit.Keeper); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A stream that is gone is made again by the keeper, and the service that consumed it goes on by itself.
func TestTheKeeperMakesAgainWhatIsGone(t *testing.T) {
	h := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- bus.Keep(ctx, h.options(permit.Keeper)) }()
	jobs := make(chan string, 10)
	if err := bus.Consume(t.Context(), h.bus(contract.SMSDispatcher), contract.ChallengeRequested, bus.ConsumeOptions{}, func(_ context.Context, d bus.Delivery[contract.ChallengeRequest]) error {
		jobs <- d.Message.Challenge
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	bustest.DeleteStream(t, h.url, h.passwords["sms-dispatcher"], contract.StreamJobs)
	gateway := h.bus(contract.AuthGateway) // waits until the stream is there
	if err := bus.Publish(t.Context(), gateway, contract.ChallengeRequested, "c1", contract.ChallengeRequest{Challenge: "c1"}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-jobs:
		if got != "c1" {
			t.Errorf("the job is %q", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody consumes the new stream")
	}
	cancel()
	if err := <-kept; err != nil {
		t.Error(err)
	}
}
