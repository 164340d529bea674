package fault

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return noon.Add(time.Duration(seconds * float64(time.Second)))
}

// sound is a ledger without fault: one challenge whose first call was cut off by a kill, and whose second reached its end.
func sound() Ledger {
	return Ledger{
		Told:     []Told{{"c", at(0), at(300)}},
		Reserved: []Reservation{{"c", "A1", at(1)}, {"c", "B1", at(22)}},
		Handoffs: []Handoff{
			{Challenge: "c", Code: "123456", By: "A1", At: at(1.1), Answered: at(1.2), Answer: Accepted},
			{Challenge: "c", Code: "123456", By: "B1", At: at(22.1), Answered: at(22.2), Answer: Accepted},
		},
		Incidents: []Incident{{By: "A1", From: at(1.2)}},
		Facts:     []contract.ChallengeFact{{Challenge: "c", Outcome: contract.OutcomeSent, Attempts: 2, At: at(22.2)}},
		Records:   map[string]Record{"c": {ID: "c", State: "sent", Attempts: 2, Ambiguous: 1, EndedAt: at(22.2)}},
		Shown:     map[string]contract.DeliveryInfo{"c": {Challenge: "c", Delivery: contract.DeliverySent, Attempts: 2}},
	}
}

// TestLedgerComplains breaks a sound ledger in every way that an invariant forbids, and in some that it allows.
func TestLedgerComplains(t *testing.T) {
	record := func(change func(*Record)) func(*Ledger) {
		return func(l *Ledger) {
			r := l.Records["c"]
			change(&r)
			l.Records["c"] = r
		}
	}
	for name, c := range map[string]struct {
		breaks func(*Ledger)
		want   string // how some complaint begins; "" for none
	}{
		"sound":                 {func(*Ledger) {}, ""},
		"the same fact twice":   {func(l *Ledger) { l.Facts = append(l.Facts, l.Facts[0]) }, ""},
		"nobody was told of it": {func(l *Ledger) { l.Told, l.Facts = nil, nil }, ""},
		"lost":                  {func(l *Ledger) { delete(l.Records, "c") }, "I2: c is not in the store"},
		"without outcome":       {record(func(r *Record) { r.State = "sending" }), "I2: c has no outcome"},
		"late":                  {record(func(r *Record) { r.EndedAt = at(331) }), "I2: c ended"},
		"no fact":               {func(l *Ledger) { l.Facts = nil }, "I2: c has 0 different facts"},
		"two facts": {func(l *Ledger) {
			l.Facts = append(l.Facts, contract.ChallengeFact{Challenge: "c", Outcome: contract.OutcomeFailed})
		}, "I2: c has 2 different facts"},
		"another fact":           {func(l *Ledger) { l.Facts[0].Outcome = contract.OutcomeExpired }, "I2: c is sent () in the store, and expired"},
		"another reason":         {func(l *Ledger) { l.Facts[0].Reason = contract.ReasonCarrier }, "I2: c is sent () in the store"},
		"not in the list":        {func(l *Ledger) { l.Shown = nil }, "I2: c is in no admin's list"},
		"shown otherwise":        {func(l *Ledger) { l.Shown["c"] = contract.DeliveryInfo{Delivery: contract.DeliveryQueued, Attempts: 2} }, "I2: c is sent after 2 attempts in the store, and shown"},
		"sent, but to nobody":    {func(l *Ledger) { l.Handoffs = nil }, "I2: c is said to be sent"},
		"refused is not handed":  {func(l *Ledger) { l.Handoffs[0].Answer, l.Handoffs[1].Answer = Throttled, OptedOut }, "I2: c is said to be sent"},
		"four hand-offs":         {func(l *Ledger) { l.Handoffs = append(l.Handoffs, l.Handoffs[1], l.Handoffs[1]) }, "I3: c was handed over 4 times"},
		"uncounted by the store": {record(func(r *Record) { r.Ambiguous = 0 }), "I3: c was handed over 2 times; the store knows of 0 ambiguous"},
		"more than attempts":     {record(func(r *Record) { r.Attempts = 1 }), "I3: c was handed over 2 times; the store counts 1"},
		"another code":           {func(l *Ledger) { l.Handoffs[1].Code = "654321" }, "I3: c was handed over with another code the 2nd"},
		"no code":                {func(l *Ledger) { l.Handoffs[0].Code, l.Handoffs[1].Code = "", "" }, "I3: c was handed over with another code"},
		"not reserved":           {func(l *Ledger) { l.Reserved = l.Reserved[:1] }, "I3: c was handed over the 2nd time after 1 reservations"},
		"reserved afterwards":    {func(l *Ledger) { l.Reserved[1].At = at(22.15) }, "I3: c was handed over the 2nd time after 1 reservations"},
		"again without cause":    {func(l *Ledger) { l.Incidents = nil }, "I3: c was handed over the 2nd time after an outcome that was clear"},
		"another one was killed": {func(l *Ledger) { l.Incidents[0].By = "A2" }, "I3: c was handed over the 2nd time after an outcome"},
		"killed long after":      {func(l *Ledger) { l.Incidents[0].From = at(9) }, "I3: c was handed over the 2nd time after an outcome"},
		"paused before":          {func(l *Ledger) { l.Incidents[0] = Incident{"A1", at(0), at(0.5)} }, "I3: c was handed over the 2nd time after an outcome"},
		"paused over it":         {func(l *Ledger) { l.Incidents[0] = Incident{"A1", at(0), at(40)} }, ""},
		"again after a 503":      {func(l *Ledger) { l.Incidents, l.Handoffs[0].Answer = nil, Error503 }, ""},
		"again after a hang":     {func(l *Ledger) { l.Incidents, l.Handoffs[0].Answer = nil, Hang }, ""},
		"again after throttling": {func(l *Ledger) { l.Incidents, l.Handoffs[0].Answer = nil, Throttled }, ""},
		"answered late":          {func(l *Ledger) { l.Incidents, l.Handoffs[0].Answered = nil, at(6) }, ""},
		"after its outcome":      {record(func(r *Record) { r.EndedAt = at(1.2) }), "I3: c was handed over 20.9s after it had its outcome"},
		"after it was verified":  {func(l *Ledger) { l.Closings = []Closing{{"c", Verified, at(5)}} }, "I4: c was handed over 17.1s after it was verified"},
		"after another one":      {func(l *Ledger) { l.Closings = []Closing{{"c", Superseded, at(5)}} }, "I4: c was handed over 17.1s after it was superseded"},
		"after it expired":       {func(l *Ledger) { l.Told[0].ExpiresAt = at(20) }, "I4: c was handed over 2.1s after it was expired"},
		"while it was verified":  {func(l *Ledger) { l.Closings = []Closing{{"c", Verified, at(22.05)}} }, ""},
		"long under way": {func(l *Ledger) {
			l.Closings, l.Reserved[1].At = []Closing{{"c", Verified, at(22.05)}}, at(20)
		}, "I4: c was handed over 50ms after it was verified"},
		"under another's reservation": {func(l *Ledger) {
			l.Closings, l.Reserved[1].By = []Closing{{"c", Verified, at(22.05)}}, "A1"
		}, "I4: c was handed over"},
		"closed after all": {func(l *Ledger) { l.Closings = []Closing{{"c", Superseded, at(23)}} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := sound()
			c.breaks(&l)
			got := l.Check()
			if c.want == "" && len(got) > 0 {
				t.Errorf("%v; want no complaint", got)
			}
			if c.want != "" && !slices.ContainsFunc(got, func(g Complaint) bool { return strings.HasPrefix(g.String(), c.want) }) {
				t.Errorf("%v; want a complaint %q", got, c.want)
			}
		})
	}
}

// TestFigures checks what a ledger comes to.
func TestFigures(t *testing.T) {
	got := sound().Figures()
	for _, want := range []string{
		"challenges told                    1", "sent: 1", "hand-offs per challenge            2: 1", "accepted: 2", "22.2s",
		"ambiguous outcomes (the store)     1",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the figures lack %q:\n%s", want, got)
		}
	}
}
