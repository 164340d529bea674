package attack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
	"sallyport/test/sut"
)

// stolen are the users of NATS whose credentials an intruder may have.
var stolen = []permit.User{
	permit.User(contract.AuthGateway), permit.User(contract.TOTP), permit.User(contract.SMSDispatcher), permit.User(contract.Policy),
}

// TestRule18TheBusOfARunningProduct: an intruder at the port of NATS, first without and then with the stolen password of
// each service, while people sign in.
func TestRule18TheBusOfARunningProduct(t *testing.T) {
	t.Parallel()
	const clerk, phone = "clerk@acme.test", "+17015554410"
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(map[string]string{"SMS_LIMIT_PERSON": "off", "SMS_LIMIT_NUMBER": "off"})})
	p.EnrolSMS(clerk, phone)
	p.SignInSMS(clerk, phone)
	_, session := p.EnrolTOTP("agent@demo.test")

	t.Run("NobodyComesInWithoutAUser", func(t *testing.T) { nobodyComesIn(t, p) })
	t.Run("NobodyListens", func(t *testing.T) { nobodyListens(t, p.For(t), clerk, phone) })
	t.Run("NobodyReachesWhatIsKept", func(t *testing.T) { nobodyReaches(t, p) })
	t.Run("NobodySpeaksForAnother", func(t *testing.T) { nobodySpeaks(t, p) })
	t.Run("AForgedJobSendsNothing", func(t *testing.T) { forgedJobs(t, p.For(t), clerk, phone) })

	// All of it has changed nothing: who was signed in is, and who has a factor is asked for it.
	sut.Expect(t, p.Who(session), 200, "")
	if s := p.BeginSignIn("agent@demo.test"); s.Status != "challenge" {
		t.Errorf("after the attacks the sign-in stands at %q", s.Status)
	}

	// And no password of the bus is anywhere but in its file, for all that was refused (I8).
	h := newHunter()
	var own []string
	for _, u := range permit.Users() {
		password, err := permit.Password(filepath.Join(p.Data, "keys"), u)
		if err != nil {
			t.Fatal(err)
		}
		h.hides("the NATS password of "+string(u), password.Reveal())
		own = append(own, filepath.Join(p.Data, "keys", "nats-"+string(u)+".password"))
	}
	h.puts("metrics", true, p.Metrics())
	p.Stop()
	h.puts("log", false, p.Output())
	h.putsFiles(t, p.Data, "file ", own...)
	for _, leak := range h.leaks() {
		t.Error(leak)
	}
	if seen := h.seen("Authorization"); !slices.Contains(seen, "log") && !slices.Contains(h.seen("Violation"), "log") {
		t.Errorf("the log does not tell of what was refused; it is seen in %q", seen)
	}
}

func nobodyComesIn(t *testing.T, p *sut.Product) {
	password := func(u permit.User) string {
		t.Helper()
		s, err := permit.Password(filepath.Join(p.Data, "keys"), u)
		if err != nil {
			t.Fatal(err)
		}
		return s.Reveal()
	}
	for name, options := range map[string]map[string]any{
		"anonymous": {}, "no password": {"user": "policy-svc"}, "empty password": {"user": "policy-svc", "pass": ""}, "guessed": {"user": "policy-svc", "pass": "policy-svc"},
		"another's": {"user": "policy-svc", "pass": password("totp-svc")}, "unknown user": {"user": "root", "pass": password("keeper")},
		"in capitals": {"user": "KEEPER", "pass": password("keeper")}, "cut off": {"user": "keeper", "pass": password("keeper")[:25]},
		"as a token": {"auth_token": password("keeper")}, "system account": {"user": "sys", "pass": "sys"}, "an empty user": {"user": "", "pass": password("keeper")},
	} {
		if i, err := intrude(t, p.NATSAddr(), options); !errors.Is(err, errShut) {
			t.Errorf("%s: comes in: %v, %v", name, i != nil, err)
		}
	}
}

// nobodyListens: whoever has a service's password hears its own calls and answers, and nothing else, while somebody signs in.
func nobodyListens(t *testing.T, p *sut.Product, clerk, phone string) {
	spies := make(map[permit.User]*intruder)
	for _, u := range stolen {
		spies[u] = takeOver(t, p.NATSAddr(), p.Data, u)
		subjects := []string{
			">", "*", "*.>", "sallyport.>", "sallyport.call.>", "sallyport.job.>", "sallyport.fact.>", "sallyport.dead.>", "_INBOX.>", "_INBOX_*.>", "$KV.>", "$JS.>", "$JS.API.>",
			"$JS.EVENT.>", "$SYS.>", "$SYS.ACCOUNT.>", "$SRV.>", "_R_.>",
		}
		for _, b := range contract.Buckets() {
			subjects = append(subjects, "$KV."+b.Name+".>", "$KV."+b.Name+".*")
		}
		for _, m := range contract.Messages() {
			subjects = append(subjects, m.Subject)
		}
		for _, other := range permit.Users() {
			if other != u {
				subjects = append(subjects, permit.Inbox(other)+".>", permit.Inbox(other)+".*.*")
			}
		}
		for _, subject := range subjects {
			for _, queue := range []string{"", "spies"} {
				if spies[u].listen(subject, queue) {
					t.Errorf("%s may listen to %s in queue %q", u, subject, queue)
				}
			}
		}
		// In the queue of who answers, where the call is not its own.
		for _, m := range contract.Messages() {
			if m.Kind == "call" && !slices.Contains(m.To, contract.Service(u)) && spies[u].listen(m.Subject, string(m.To[0])) {
				t.Errorf("%s may answer %s in the place of %s", u, m.Subject, m.To[0])
			}
		}
	}
	p.SignInSMS(clerk, phone)
	for u, spy := range spies {
		if spy.settle(); len(spy.heard) > 0 {
			t.Errorf("%s heard %q", u, spy.heard)
		}
	}
}

// owns tells whether a stream is that of a bucket of this user's own.
func owns(u permit.User, stream string) bool {
	return slices.ContainsFunc(contract.Buckets(), func(b contract.Bucket) bool {
		return b.Owner == contract.Service(u) && permit.BucketStream(b.Name) == stream
	})
}

// nobodyReaches: what streams and buckets hold is neither read, changed nor deleted past what a service is for.
func nobodyReaches(t *testing.T, p *sut.Product) {
	var streams []string
	for _, s := range contract.Streams() {
		streams = append(streams, string(s.Name))
	}
	for _, b := range contract.Buckets() {
		streams = append(streams, permit.BucketStream(b.Name))
	}
	for _, u := range stolen {
		thief := takeOver(t, p.NATSAddr(), p.Data, u)
		inbox := permit.Inbox(u) + ".loot"
		if !thief.listen(inbox, "") {
			t.Fatalf("%s may not listen to its own inbox", u)
		}
		tries := []string{
			"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.G.CONNZ", "$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.PING.VARZ", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
			"$JS.API.STREAM.CREATE.LOOT", "$JS.API.ACCOUNT.PURGE.G", "$SRV.PING", "$SRV.INFO",
		}
		for _, s := range streams {
			for _, verb := range []string{"DELETE", "PURGE", "UPDATE", "CREATE", "SNAPSHOT", "RESTORE", "MSG.DELETE"} {
				tries = append(tries, "$JS.API.STREAM."+verb+"."+s)
			}
			if !owns(u, s) {
				tries = append(tries, "$JS.API.STREAM.MSG.GET."+s)
			}
			tries = append(tries, "$JS.API.DIRECT.GET."+s, "$JS.API.DIRECT.GET."+s+".$KV."+strings.TrimPrefix(s, "KV_")+".>", "$JS.API.CONSUMER.CREATE."+s, "$JS.API.CONSUMER.CREATE."+s+".loot", "$JS.API.CONSUMER.DURABLE.CREATE."+s+".loot",
				"$JS.API.CONSUMER.LIST."+s, "$JS.API.CONSUMER.MSG.NEXT."+s+".loot")
		}
		for _, b := range contract.Buckets() {
			if b.Owner != contract.Service(u) {
				tries = append(tries, "$KV."+b.Name+".forged",
					"$JS.API.CONSUMER.CREATE."+permit.BucketStream(b.Name)+".w.$KV."+b.Name+".>")
			}
		}
		for _, c := range permit.Consumers() {
			if c.Service != contract.Service(u) {
				at := string(c.Stream) + "." + c.Name
				tries = append(tries, "$JS.API.CONSUMER.MSG.NEXT."+at, "$JS.ACK."+at+".1.1.1.1.0", "$JS.API.CONSUMER.DELETE."+at, "$JS.API.CONSUMER.INFO."+at)
			}
		}
		for _, subject := range tries {
			if thief.publish(subject, inbox, nil, `{"seq":1,"last_by_subj":">","batch":100,"no_wait":true}`) {
				t.Errorf("%s may send to %s", u, subject)
			}
		}
		if thief.settle(); len(thief.heard) > 0 {
			t.Errorf("%s got %q", u, thief.heard)
		}
	}
}

// nobodySpeaks: no service tells what is another's to tell, asks what is another's to ask, or answers for another.
func nobodySpeaks(t *testing.T, p *sut.Product) {
	for _, u := range stolen {
		liar := takeOver(t, p.NATSAddr(), p.Data, u)
		for _, m := range contract.Messages() {
			if slices.Contains(m.From, contract.Service(u)) {
				continue
			}
			payload, err := json.Marshal(m.Sample)
			if err != nil {
				t.Fatal(err)
			}
			if liar.publish(m.Subject, permit.Inbox(u)+".x", map[string]string{contract.HeaderVersion: contract.Version, contract.HeaderEventID: "forged"}, string(payload)) {
				t.Errorf("%s may send %s, which is for %v", u, m.Subject, m.From)
			}
		}
		for _, other := range permit.Users() {
			for _, subject := range []string{permit.Inbox(other) + ".forged", permit.Inbox(other) + ".a.b", contract.DeadSubject(contract.Service(other))} {
				if own := contract.DeadSubject(contract.Service(u)); subject != own && liar.publish(subject, "", nil, `{"outcome":"right"}`) {
					t.Errorf("%s may send to %s", u, subject)
				}
			}
		}
	}
}

// forgedJobs: the gateway's own credentials order no text without a challenge that sms-dispatcher has written, and a
// genuine job, told again, sends nothing again.
func forgedJobs(t *testing.T, p *sut.Product, clerk, phone string) {
	gateway := takeOver(t, p.NATSAddr(), p.Data, permit.User(contract.AuthGateway))
	operator := takeOver(t, p.NATSAddr(), p.Data, permit.Operator)
	type jobs struct {
		State struct{ Messages int }
	}
	waiting := func() int {
		t.Helper()
		var info jobs
		if err := json.Unmarshal([]byte(operator.ask(permit.Operator, "$JS.API.STREAM.INFO."+string(contract.StreamJobs), "")), &info); err != nil {
			t.Fatal(err)
		}
		return info.State.Messages
	}
	genuine := genuineTexts(t, p)
	if len(genuine) < 2 {
		t.Fatalf("only %d genuine challenges", len(genuine))
	}
	seen, forged := len(p.Messages("")), 0
	acks := permit.Inbox(permit.User(contract.AuthGateway)) + ".acks"
	if !gateway.listen(acks, "") {
		t.Fatal("the gateway's user may not listen to its own inbox")
	}
	forge := func(id string, job contract.ChallengeRequest) {
		t.Helper()
		raw, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		forged++
		if !gateway.publish(contract.ChallengeRequested.Subject, acks, map[string]string{contract.HeaderVersion: contract.Version, contract.HeaderEventID: id, "Nats-Msg-Id": id}, string(raw)) {
			t.Fatal("the gateway's user may not order texts: the attack proves nothing")
		}
	}
	later := time.Now().Add(time.Hour)
	for n, c := range genuine {
		for again := range 3 {
			forge(fmt.Sprintf("again-%d-%d", n, again), contract.ChallengeRequest{Account: contract.Account{Portal: c.Portal, User: c.User}, Challenge: c.ID, ExpiresAt: later})
		}
		// The challenge of somebody else, or of another portal.
		forge(fmt.Sprintf("other-%d", n), contract.ChallengeRequest{Account: contract.Account{Portal: c.Portal, User: "somebody"}, Challenge: c.ID, ExpiresAt: later})
		forge(fmt.Sprintf("portal-%d", n), contract.ChallengeRequest{Account: contract.Account{Portal: "other", User: c.User}, Challenge: c.ID, ExpiresAt: later})
	}
	forge("invented", contract.ChallengeRequest{Account: contract.Account{Portal: genuine[0].Portal, User: genuine[0].User}, Challenge: "ch-that-nobody-wrote", ExpiresAt: later})
	forge("empty", contract.ChallengeRequest{})
	sut.Eventually(t, 30*time.Second, "every job is in the queue", func() bool { gateway.settle(); return len(gateway.heard) == forged })
	for _, ack := range gateway.heard {
		if strings.Contains(ack, "error") || strings.Contains(ack, "duplicate") {
			t.Errorf("a forged job did not reach the queue: %s", ack)
		}
	}
	sut.Eventually(t, 30*time.Second, "every job is dealt with", func() bool { return waiting() == 0 })
	if all := p.Messages(""); len(all) != seen {
		t.Errorf("forged and repeated jobs sent %d texts", len(all)-seen)
	}
	// Who signs in properly gets one text, and the code of it is the one that works.
	p.SignInSMS(clerk, phone)
	if n := len(p.Messages("")); n != seen+1 {
		t.Errorf("one sign-in sent %d texts", n-seen)
	}
	var dead struct {
		State struct{ Messages int }
	}
	if err := json.Unmarshal([]byte(operator.ask(permit.Operator, "$JS.API.STREAM.INFO."+string(contract.StreamDead), "")), &dead); err != nil {
		t.Fatal(err)
	}
	if dead.State.Messages == 0 {
		t.Error("of the forged jobs none was laid aside for an operator to see")
	}
}

// challenge is what sms-dispatcher keeps of a text, as far as an attacker would want it.
type challenge struct {
	ID     string `bson:"_id"`
	Portal string `bson:"portal"`
	User   string `bson:"user"`
}

// genuineTexts are the challenges that there were: an attacker may have seen their ids go by.
func genuineTexts(t *testing.T, p *sut.Product) []challenge {
	t.Helper()
	db, err := store.Connect(t.Context(), store.Options{
		URI: p.StoreURI() + "/?directConnection=true", Database: "sallyport_sms_dispatcher", Name: "attack", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }() // it was only read
	all, err := store.Of[challenge](db, "challenges").Query(t.Context(), nil, nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
