package sms

import (
	"context"
	"log/slog"
)

// settle closes the account of a text whose code is over: answered, replaced or expired. It may be called again for the
// same challenge; the first call counts. What a crash in it loses counts as unanswered until its window is over.
//
// A right code gives back what the meters counted. So does a text that surely never went out: a fault of ours must not
// look like an attack. Of a country's texts those count that were handed over.
func (d *dispatcher) settle(ctx context.Context, c challenge) error {
	c, first, err := d.records.settled(ctx, c.ID)
	if err != nil || !first {
		return err
	}
	answered := c.Closed == closedVerified
	out := answered || c.State == stateSent
	unsent := c.Ambiguous == 0 && (c.State == stateFailed || c.Attempts == 0)
	if answered || !out && unsent {
		for _, meter := range c.Meters {
			if err := d.records.giveBack(ctx, meter, d.guards.limits[guardOf(meter)], c.CountedAt); err != nil {
				return err
			}
		}
	}
	if !out {
		return nil
	}
	return d.countOver(ctx, c, answered, d.now())
}

// settled is settle where nothing waits for it: what fails is logged.
func (d *dispatcher) settled(ctx context.Context, c challenge) {
	if err := d.settle(ctx, c); err != nil {
		d.log.Warn("a text's account is not closed", slog.String("challenge", c.ID), slog.Any("error", err))
	}
}

// handedOver counts a text that SNS has taken, and what it costs.
func (d *dispatcher) handedOver(c challenge) {
	country := d.settings.Countries.label(c.Region)
	d.metrics.texts.WithLabelValues(country).Inc()
	d.metrics.cost.WithLabelValues(country).Add(d.guards.prices[c.Region])
}
