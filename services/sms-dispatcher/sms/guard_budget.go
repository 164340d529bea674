package sms

import (
	"context"
	"log/slog"
	"math"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
)

// budgetLeft is how many texts of today's budget are left; limited is false where none is set.
func (d *dispatcher) budgetLeft(ctx context.Context, now time.Time) (b budget, left int, limited bool, err error) {
	if d.settings.DailyBudget == 0 {
		return b, 0, false, nil
	}
	b, err = d.records.budget(ctx, now.Format(time.DateOnly))
	return b, d.settings.DailyBudget - b.Sent, true, err
}

// askBudget refuses a text while the day's budget is spent. What was let through before waits: the budget itself is
// claimed by [dispatcher.spend], right before the call.
func (d *dispatcher) askBudget(ctx context.Context, who contract.Account, now time.Time) error {
	b, left, limited, err := d.budgetLeft(ctx, now)
	if err != nil || !limited || left > 0 {
		return err
	}
	l := meter.Limit{Most: d.settings.DailyBudget, Window: meter.Day}
	id := limitedID(contract.GuardBudget, who.Portal, l, now)
	if b.Told[id] == "" {
		d.tellLimit(ctx, id, who, contract.GuardBudget, "", l, now, func(letter bus.Letter) error {
			return d.records.tellBudget(ctx, b.ID, letter)
		})
	}
	if d.lets(contract.GuardBudget) {
		return nil
	}
	return overLimit(contract.GuardBudget, now.Truncate(meter.Day).Add(meter.Day).Sub(now))
}

// spend takes one text from the day's budget, before the call; false means that none is left. A budget that is only
// recorded is counted, and never refuses.
func (d *dispatcher) spend(ctx context.Context, today string) (bool, error) {
	most := d.settings.DailyBudget
	if most == 0 {
		return true, nil
	}
	if d.guards.recorded[contract.GuardBudget] {
		most = math.MaxInt32
	}
	return d.records.spend(ctx, today, most)
}

// lookAtBudget shows what is left of the budget.
func (d *dispatcher) lookAtBudget(ctx context.Context) {
	_, left, limited, err := d.budgetLeft(ctx, d.now())
	switch {
	case err != nil && ctx.Err() == nil:
		d.log.Warn("budget not looked at", slog.Any("error", err))
	case err == nil && limited:
		d.metrics.budgetLeft.Set(float64(max(left, 0)))
	}
}
