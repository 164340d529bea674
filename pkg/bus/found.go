package bus

import (
	"context"
	"fmt"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
)

// found makes sure of the streams and, where the keeper makes everything, that this service's buckets and consumers are
// there as well: while `sallyport nats-prepare` is under way a service waits for the last of them, not only for the first.
func (b *Bus) found(ctx context.Context) error {
	if err := b.ensureStreams(ctx); err != nil || b.makes {
		return err
	}
	for _, k := range contract.Buckets() {
		if !b.uses(contract.Stream(permit.BucketStream(k.Name))) {
			continue
		}
		if _, err := b.js.KeyValue(ctx, k.Name); err != nil {
			return fmt.Errorf("bucket %s: %w", k.Name, notMade(err))
		}
	}
	for _, c := range permit.Consumers() {
		if c.Service != b.name {
			continue
		}
		if _, err := b.js.Consumer(ctx, string(c.Stream), c.Name); err != nil {
			return fmt.Errorf("consumer %s: %w", c.Name, notMade(err))
		}
	}
	return nil
}
