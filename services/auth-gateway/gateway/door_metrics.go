package gateway

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/contract"
)

// passage is what happened at the portal door: the closed set that is counted.
type passage string

const (
	passBadKey   passage = "bad_key"   // somebody without a living API key
	passBegun    passage = "begun"     // a portal sent somebody
	passTurned   passage = "turned"    // a portal sent somebody who was not let in, or asked wrongly
	passEntered  passage = "entered"   // a browser came with its ticket
	passLate     passage = "late"      // a browser came with a ticket that was used or too old
	passRedeemed passage = "redeemed"  // a portal took a sign-in as proof
	passUnproved passage = "unproved"  // a portal asked for a proof that is none
	passFault    passage = "no_answer" // one of our parts did not answer
)

var passages = []passage{passBadKey, passBegun, passTurned, passEntered, passLate, passRedeemed, passUnproved, passFault}

func newPassages(r prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_gateway_door_passages_total", Help: "What happened at the portal door.",
	}, []string{"event"})
	r.MustRegister(c)
	for _, p := range passages {
		c.WithLabelValues(string(p))
	}
	return c
}

// counts counts what became of a step, done, or else refused, unless it was our fault, and says so in the log.
func (d *door) counts(ctx context.Context, err error, done, refused passage, at passing) {
	switch code := contract.CodeOf(err); {
	case err == nil:
	case code == contract.Unavailable, code == contract.InternalError:
		done = passFault
	default:
		done = refused
	}
	if done != "" {
		d.passages.WithLabelValues(string(done)).Inc()
		notePassage(ctx, d.log, done, at, err)
	}
}
