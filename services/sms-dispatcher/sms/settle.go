package sms

import "context"

// settle closes the account of a text that is over: its code was answered, replaced or has expired. It is called once,
// after the challenge was marked; what a crash in between loses counts as unanswered until its window is over.
//
// A right code gives back what the meters counted. So does a text that surely never went out: a fault of ours must not
// look like an attack. Of a country's texts those count that were handed over.
func (d *dispatcher) settle(ctx context.Context, c challenge) error {
	answered := c.Closed == closedVerified
	out := answered || c.State == stateSent
	unsent := c.Ambiguous == 0 && (c.State == stateFailed || c.Attempts == 0)
	if answered || !out && unsent {
		for _, id := range c.Meters {
			if err := d.records.meters.GiveBack(ctx, id, d.guards.limits[guardOf(id)], c.CountedAt, 1); err != nil {
				return err
			}
		}
	}
	if !out {
		return nil
	}
	return d.countOver(ctx, c, answered, d.now())
}

// handedOver counts a text that SNS has taken, and what it costs.
func (d *dispatcher) handedOver(c challenge) {
	country := d.settings.Countries.label(c.Region)
	d.metrics.texts.WithLabelValues(country).Inc()
	d.metrics.cost.WithLabelValues(country).Add(d.guards.prices[c.Region])
}
