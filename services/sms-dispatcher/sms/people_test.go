package sms

import (
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// TestB40ImportOfANumber: it is confirmed at once, gets codes like any other, and replaces none that counts.
func TestB40ImportOfANumber(t *testing.T) {
	w := newWorld(t)
	w.start()
	office, err := OpenOffice(t.Context(), w.DB(contract.SMSDispatcher), w.Clock)
	if err != nil {
		t.Fatal(err)
	}
	keys := w.Keys(contract.SMSDispatcher)
	p := w.person("u1", phone)
	since, epoch := w.Clock.Now().Add(-time.Hour), contract.Epoch{Population: 2, Person: 1}
	got, err := office.Import(t.Context(), keys, p.Account, epoch, MovedPhone{Number: secret.New(phone), Since: since})
	if err != nil || got.Factor != contract.FactorSMS || got.Epoch != epoch || !got.Since.Equal(asKept(since)) {
		t.Fatalf("%+v, %v", got, err)
	}
	out, ok, err := office.Export(t.Context(), keys, p.Account, got.Enrolment)
	if err != nil || !ok || out.Number.Reveal() != phone || !out.Since.Equal(asKept(since)) {
		t.Errorf("moved out again: %+v, %t, %v", out, ok, err)
	}
	if _, ok, err := office.Export(t.Context(), keys, w.person("u2", phone).Account, got.Enrolment); ok || err != nil {
		t.Errorf("of somebody without a number: %t, %v", ok, err)
	}
	for _, number := range []string{phone, "+17015550188"} {
		if again, err := office.Import(t.Context(), keys, p.Account, epoch, MovedPhone{Number: secret.New(number), Since: since}); err != nil || again != got {
			t.Errorf("again: %+v, %v; want %+v", again, err, got)
		}
	}
	if _, err := office.Import(t.Context(), keys, p.Account, contract.Epoch{Population: 2}, MovedPhone{Number: secret.New(phone), Since: since}); contract.CodeOf(err) != contract.Conflict {
		t.Errorf("under a generation that is over: %v", err)
	}
	after, err := office.Import(t.Context(), keys, p.Account, contract.Epoch{Population: 2, Person: 2}, MovedPhone{Number: secret.New("+17015550188"), Since: since})
	if err != nil || after.Enrolment == got.Enrolment {
		t.Errorf("after a reset: %+v, %v", after, err)
	}
}
