package service

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Memory pacing. A password hash allocates its whole memory cost at once (7 MiB), so that a crowd at the door makes the
// heap grow far beyond what lives before a collection ends. A soft limit makes collections come earlier then. It is
// memoryFloor, or memoryRoom times what lives where that is more: a limit near what lives would collect all the time.
const (
	memoryFloor = 160 << 20
	memoryRoom  = 2
	paceEvery   = 5 * time.Second
)

// PaceMemory keeps the soft memory limit of this process in step with what lives on its heap, until ctx ends.
// GOMEMLIMIT in the environment turns it off.
func PaceMemory(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		metrics.Read(live)
		debug.SetMemoryLimit(memoryLimit(live[0].Value.Uint64()))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// memoryLimit is the soft limit for a heap of which this much lives.
func memoryLimit(live uint64) int64 {
	return max(memoryFloor, memoryRoom*int64(live)) //nolint:gosec // a heap is far smaller than 2^62 bytes
}
