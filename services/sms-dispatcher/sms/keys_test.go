package sms

import (
	"testing"

	"sallyport/pkg/contract"
)

// B40: numbers, and texts that are on their way, outlive a rotation; afterwards nothing is under the old key.
func TestB40NumbersAreResealedWhileTheyAreInUse(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	p, q := w.person("dana", "+17015550123"), w.person("kim", "+17015550124")
	p.enrol()
	p.ask("before", contract.ForSignIn, "")
	q.ask("pending", contract.ForEnrolment, q.phone)
	typed, first := p.next(1), q.next(0)
	was := w.Rotate(contract.SMSDispatcher)
	w.box = w.Keys(contract.AuthGateway).Bus
	if err := svc.Keys.Reload(); err != nil {
		t.Fatal(err)
	}
	w.Resealed(contract.SMSDispatcher, was)
	if err := p.verify("before", contract.ForSignIn, typed); err != nil {
		t.Errorf("a code from before the rotation: %v", err)
	}
	if _, err := q.confirm("pending", first); err != nil {
		t.Errorf("a number from before the rotation: %v", err)
	}
	w.Clock.Add(codeLife)
	p.ask("after", contract.ForSignIn, "")
	if err := p.verify("after", contract.ForSignIn, p.next(2)); err != nil {
		t.Errorf("a code after the rotation: %v", err)
	}
}
