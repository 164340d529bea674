package sms

import (
	"fmt"
	"strings"
	"testing"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
)

// A good job behind two hundred that nobody can use is sent all the same, and every one of them lies where an operator
// finds it.
func TestPoisonSlowsNobody(t *testing.T) {
	w := newWorld(t)
	first := w.start()
	p, q := w.person("u1", phone), w.person("u2", "+17015550002")
	if _, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil {
		t.Fatal(err)
	}
	good, err := w.records.challenges.Get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	const each = 40
	for n := range each {
		large := fmt.Sprintf(`{"portal":"northwind","user":"u1","challenge":"%s%d"}`, strings.Repeat("x", 60_000), n)
		for kind, data := range []string{"garbage", `{"challenge":7}`, large} {
			l := bus.Letter{ID: fmt.Sprintf("bad-%d-%d", kind, n), Subject: contract.ChallengeRequested.Subject, Data: []byte(data)}
			if err := w.gateway.Send(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
		p.publish(fmt.Sprint("unknown-", n), fmt.Sprint("unknown-", n))
		// A row moved to another place does not open there.
		moved := good
		moved.ID, moved.User = fmt.Sprint("moved-", n), q.User
		if _, _, err := w.records.open(t.Context(), moved); err != nil {
			t.Fatal(err)
		}
		q.publish(moved.ID, "job-"+moved.ID)
	}
	p.publish("c1", "job-c1")
	w.start("SMS_WORKERS", "4")
	p.next(0)
	servicetest.Eventually(t, "every one is dead", func() bool {
		letters, err := w.operator.DeadLetters(t.Context(), 1000)
		return err == nil && len(letters) == 5*each
	})
	if n := len(w.inbox("")); n != 1 {
		t.Errorf("%d texts, want one", n)
	}
}
