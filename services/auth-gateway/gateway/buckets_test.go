package gateway

import (
	"testing"
	"time"

	"sallyport/pkg/contract"
)

// A bucket sweeps what is over, and nothing that is not. A session that is used is written every minute; whatever else it
// may be good for, one that was not written for half an hour is over.
func TestBucketsOutliveWhatIsInThem(t *testing.T) {
	for _, c := range []struct {
		bucket contract.Bucket
		life   time.Duration
	}{{contract.SignIns, 3 * signInLife}, {contract.Journeys, 2 * journeyLife}, {contract.Sessions, 2 * sessionIdle}} {
		if c.bucket.MaxAge < c.life {
			t.Errorf("%s forgets after %v what lives for %v", c.bucket.Name, c.bucket.MaxAge, c.life)
		}
	}
}
