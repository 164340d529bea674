package policy

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/store"
)

// Office is what an operator may do to policy-svc's database from a command line: the same as the calls do, whether the
// service runs or not. What is to be told on the bus stays in the outbox until a running service relays it.
type Office struct{ policy *policy }

// OpenOffice opens the office on policy-svc's database, with policy-svc's keys.
func OpenOffice(ctx context.Context, db *store.DB, keys *seal.Keys) (*Office, error) {
	log, err := OpenAudit(ctx, db, keys)
	if err != nil {
		return nil, err
	}
	quiet := store.NewOutbox(db, slog.New(slog.DiscardHandler), func(context.Context, bus.Letter) error {
		return errors.New("there is no bus here")
	})
	return &Office{&policy{state: newState(db, quiet), log: log, clock: clock.System(), metrics: newMetrics(prometheus.NewRegistry())}}, nil
}

// Reset is [contract.PolicyReset]. It is in the audit log when it returns.
func (o *Office) Reset(ctx context.Context, req contract.ResetRequest) error {
	_, err := o.policy.reset(ctx, req)
	return err
}

// Settings is [contract.PolicySettings]; those of version 0 are none yet.
func (o *Office) Settings(ctx context.Context, portal string) (contract.Settings, error) {
	return o.policy.settings(ctx, contract.SettingsRequest{Portal: portal})
}

// CreateSettings gives a new portal its settings; it is a conflict where there are some.
func (o *Office) CreateSettings(ctx context.Context, portal string, wanted contract.Settings, actor string) (contract.Settings, error) {
	wanted.Version = 0
	return o.policy.change(ctx, contract.ChangeRequest{Portal: portal, Actor: actor, Settings: wanted})
}

// Audit is the audit log of the same database.
func (o *Office) Audit() *Audit { return o.policy.log }

// Close waits, bounded by ctx, for what the office still does in the background; the database may be closed then.
func (o *Office) Close(ctx context.Context) error { return o.policy.state.outbox.Close(ctx) }
