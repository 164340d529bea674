package embedded

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// BenchmarkUpdateByID measures one update of one document among 50,000: by _id alone, by _id and further conditions,
// and, as the floor, a ping, which goes the same way and touches no document.
func BenchmarkUpdateByID(b *testing.B) {
	const documents = 50_000
	s := startTestStore(b, b.TempDir())
	things := connect(b, s.URI()).Database("bench").Collection("things")
	for i := 0; i < documents; i += 5_000 {
		batch := make([]any, 5_000)
		for j := range batch {
			batch[j] = bson.D{
				{Key: "_id", Value: thingID(i + j)}, {Key: "n", Value: 0}, {Key: "until", Value: time.Now()},
				{Key: "nested", Value: bson.D{{Key: "name", Value: "a thing"}, {Key: "tags", Value: bson.A{"x", "y"}}}},
			}
		}
		if _, err := things.InsertMany(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	inc := bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 1}}}}
	kinds := []struct {
		name string
		do   func(ctx context.Context, id string) error
	}{
		{"ping", func(ctx context.Context, _ string) error {
			return things.Database().RunCommand(ctx, bson.D{{Key: "ping", Value: 1}}).Err()
		}},
		{"find", func(ctx context.Context, id string) error {
			return things.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Err()
		}},
		{"update", func(ctx context.Context, id string) error {
			return matchedOne(things.UpdateOne(ctx, bson.D{{Key: "_id", Value: id}}, inc))
		}},
		{"findOneAndUpdate", func(ctx context.Context, id string) error {
			return things.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: id}}, inc).Err()
		}},
		{"update-with-conditions", func(ctx context.Context, id string) error {
			return matchedOne(things.UpdateOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "n", Value: bson.D{{Key: "$gte", Value: 0}}}}, inc))
		}},
		{"by-another-field", func(ctx context.Context, id string) error {
			return things.FindOne(ctx, bson.D{{Key: "name", Value: id}}).Err()
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
			})
		}
	}
}

func thingID(i int) string { return fmt.Sprintf("portal/thing-%05d@example.test", i) }

func matchedOne(r *mongo.UpdateResult, err error) error {
	if err == nil && r.MatchedCount != 1 {
		return fmt.Errorf("matched %d documents, want 1", r.MatchedCount)
	}
	return err
}
