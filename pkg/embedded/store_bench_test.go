package embedded

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// BenchmarkUpdateByID measures one update of one document among 50,000: by _id alone, by _id and further conditions,
// and, as the floor, a ping, which goes the same way and touches no document. A look-up by another field, which reads
// all documents, takes seconds: leave it out with -bench 'UpdateByID/(ping|find|update)'.
func BenchmarkUpdateByID(b *testing.B) {
	const documents = 50_000
	s := startTestStore(b, b.TempDir())
	things := connect(b, s.URI()).Database("bench").Collection("things")
	for i := 0; i < documents; i += 5_000 {
		batch := make([]any, 5_000)
		for j := range batch {
			batch[j] = d("_id", thingID(i+j), "n", 0, "until", time.Now(), "nested", d("name", "a thing", "tags", bson.A{"x", "y"}))
		}
		if _, err := things.InsertMany(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	inc := d("$inc", d("n", 1))
	kinds := []struct {
		name string
		do   func(ctx context.Context, id string) error
	}{
		{"ping", func(ctx context.Context, _ string) error {
			return things.Database().RunCommand(ctx, d("ping", 1)).Err()
		}},
		{"find", func(ctx context.Context, id string) error {
			return things.FindOne(ctx, d("_id", id)).Err()
		}},
		{"update", func(ctx context.Context, id string) error {
			return matchedOne(things.UpdateOne(ctx, d("_id", id), inc))
		}},
		{"findOneAndUpdate", func(ctx context.Context, id string) error {
			return things.FindOneAndUpdate(ctx, d("_id", id), inc).Err()
		}},
		{"update-with-conditions-not-met", func(ctx context.Context, id string) error {
			r, err := things.UpdateOne(ctx, d("_id", id, "n", d("$lt", 0)), inc)
			if err == nil && r.MatchedCount > 0 {
				return fmt.Errorf("matched %d documents, want none", r.MatchedCount)
			}
			return err
		}},
		{"findOneAndUpdate-with-conditions", func(ctx context.Context, id string) error {
			return things.FindOneAndUpdate(ctx, d("_id", id, "n", d("$gte", 0), "$or", bson.A{
				d("lock", d("$exists", false)), d("lock.until", d("$lte", time.Now())),
			}), inc).Err()
		}},
		{"update-with-conditions", func(ctx context.Context, id string) error {
			return matchedOne(things.UpdateOne(ctx, d("_id", id, "n", d("$gte", 0)), inc))
		}},
		{"by-another-field", func(ctx context.Context, id string) error {
			return things.FindOne(ctx, d("name", id)).Err()
		}},
	}
	for _, k := range kinds {
		for _, clients := range []int{1, 8, 32} {
			if k.name == "by-another-field" && clients > 1 {
				continue
			}
			b.Run(fmt.Sprintf("%s/clients=%d", k.name, clients), func(b *testing.B) {
				var next atomic.Int64
				took := make([][]time.Duration, clients)
				var wg sync.WaitGroup
				before := cpuTime(b)
				b.ResetTimer()
				for c := range clients {
					wg.Go(func() {
						for {
							i := int(next.Add(1))
							if i > b.N {
								return
							}
							start := time.Now()
							err := k.do(b.Context(), thingID(i*7919%documents))
							took[c] = append(took[c], time.Since(start))
							if err != nil && err != mongo.ErrNoDocuments { //nolint:errorlint // as returned
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				all := slices.Sorted(slices.Values(slices.Concat(took...)))
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
				b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			})
		}
	}
}

// cpuTime is the processor time that this process, the driver included, has used.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func thingID(i int) string { return fmt.Sprintf("portal/thing-%05d@example.test", i) }

func matchedOne(r *mongo.UpdateResult, err error) error {
	if err == nil && r.MatchedCount != 1 {
		return fmt.Errorf("matched %d documents, want 1", r.MatchedCount)
	}
	return err
}
