package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// letter is a dead letter as `sallyport dead-letters list --json` prints it.
type letter struct {
	Sequence                 uint64
	Service, Subject, Reason string
	RequestID                string `json:"request_id"`
	EventID                  string `json:"event_id"`
	NotReplayable            string `json:"not_replayable"`
	Payload                  string
	Size                     int
}

// deadLetters lists them.
func deadLetters(t *testing.T, p *sut.Product, args ...string) []letter {
	t.Helper()
	var out []letter
	c := p.OperateBus(0, append([]string{"dead-letters", "list", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(c.Stdout()), &out); err != nil {
		t.Fatalf("%v\n%s", err, c.Output())
	}
	return out
}

// TestB40DeadLetters: what no service could use is listed without what it holds, replayed and dropped, whether the
// product runs or not.
func TestB40DeadLetters(t *testing.T) {
	t.Parallel()
	const hidden = "hunter2"
	p := demo(t, nil)
	if said := p.OperateBus(0, "dead-letters", "list").Stdout(); !strings.Contains(said, "no dead letters") {
		t.Errorf("of none it says %q", said)
	}
	p.OperateBus(0, "dead-letters", "drop", "--all")

	password, err := permit.Password(filepath.Join(p.Data, "keys"), permit.Operator) // who may publish any event
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Visit(t.Context(), bus.Options{
		URL: "nats://" + p.NATSAddr(), Name: "test", User: string(permit.Operator), Password: password, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	poison := func(id, subject, data, request string) {
		t.Helper()
		if err := b.Send(t.Context(), bus.Letter{ID: id, Subject: subject, Data: []byte(data), Request: request}); err != nil {
			t.Fatal(err)
		}
	}
	job, fact := contract.ChallengeRequested.Subject, contract.FactorRecovered.Subject
	poison("garbage", job, hidden+"\x1b[2J", "rq-garbage")
	poison("forged", job, `{"portal":"demo","user":"u1","challenge":"ch1"}`, "rq\x1b[2J")
	poison("fact", fact, `[]`, "rq-fact")
	var all []letter
	sut.Eventually(t, 20*time.Second, "three dead letters", func() bool { all = deadLetters(t, p); return len(all) == 3 })
	by := func(event string) letter {
		t.Helper()
		for _, l := range all {
			if l.EventID == event {
				return l
			}
		}
		t.Fatalf("no dead letter of %s: %+v", event, all)
		return letter{}
	}
	if l := by("forged"); l.Service != "sms-dispatcher" || l.Subject != job || l.Reason != "no such challenge" || l.NotReplayable != "" || l.Payload != "" {
		t.Errorf("%+v", l)
	}
	if l := by("fact"); l.Service != "policy-svc" || l.RequestID != "rq-fact" {
		t.Errorf("%+v", l)
	}

	// The table is for a terminal: it tells no payload unasked, and lets none of them move the cursor.
	table := p.OperateBus(0, "dead-letters", "list").Output()
	for _, want := range []string{"SEQ", "sms-dispatcher", "policy-svc", job, fact, "rq-garbage", "not a message of this subject", "no such challenge"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	withPayload := p.OperateBus(0, "dead-letters", "list", "--payload").Output()
	if strings.Contains(table, hidden) || !strings.Contains(withPayload, hidden) || strings.Contains(table+withPayload, "\x1b") {
		t.Errorf("the tables:\n%q\n%q", table, withPayload)
	}
	if some := p.OperateBus(0, "dead-letters", "list", "--limit=1").Stdout(); !strings.Contains(some, "more than 1") {
		t.Errorf("cut:\n%s", some)
	}
	if got := deadLetters(t, p, "--service=policy-svc"); len(got) != 1 || got[0].EventID != "fact" {
		t.Errorf("of policy-svc: %+v", got)
	}

	// Flags that do not fit together, and letters that are not there.
	for _, args := range [][]string{{"replay"}, {"drop", "1", "--all"}, {"replay", "1", "--subject=" + job}, {"drop", "--all", "--service=nobody"}, {"list", "--limit=0"}} {
		p.OperateBus(2, append([]string{"dead-letters"}, args...)...)
	}
	first := fmt.Sprint(by("forged").Sequence)
	c := p.OperateBus(1, "dead-letters", "replay", "999", first)
	if !strings.Contains(c.Stdout(), first+"  sms-dispatcher") || !strings.Contains(c.Stderr(), "no dead letter 999") || !strings.Contains(c.Stderr(), "1 of 2") ||
		!strings.Contains(c.Stderr(), "dead letter is replayed") {
		t.Errorf("one of two:\n%s", c.Output())
	}
	replayed := by("forged")
	sut.Eventually(t, 20*time.Second, "it is dead again", func() bool {
		all = deadLetters(t, p)
		return len(all) == 3 && by("forged").Sequence > replayed.Sequence
	})

	// With the product stopped the letters are in its data; what is replayed then is consumed at the next start.
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if got := deadLetters(t, p); len(got) != 3 {
		t.Errorf("after the stop: %+v", got)
	}
	p.OperateBus(0, "dead-letters", "replay", "--all", "--subject="+job)
	if all = deadLetters(t, p); len(all) != 1 {
		t.Errorf("after the replay: %+v", all)
	}
	p.Resume()
	sut.Eventually(t, 20*time.Second, "they are dead again", func() bool { return len(deadLetters(t, p)) == 3 })
	if said := p.OperateBus(0, "dead-letters", "drop", "--all").Stdout(); strings.Count(said, "is dropped.") != 3 {
		t.Errorf("it says:\n%s", said)
	}
	if got := deadLetters(t, p); len(got) != 0 {
		t.Errorf("they are still there: %+v", got)
	}
}
