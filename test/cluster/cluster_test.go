package cluster

import (
	"testing"
	"time"

	"sallyport/pkg/contract"
)

// kept is how many streams and buckets there are.
var kept = len(contract.Streams()) + len(contract.Buckets())

func TestRing(t *testing.T) {
	r := newRing(t)
	r.awaitWhole(t, 30*time.Second)
	t.Log(r.leader(""), r.leader("KV_SALLYPORT_SESSIONS").name)
}
