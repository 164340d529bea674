package service

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Memory pacing: password hashes and document frames are large and short-lived, so the collector would run far too
// often for what little lives, or let the garbage grow far beyond it. Garbage may grow to gcPercent of what lives, which
// saves about a tenth of the work, but not beyond memoryFloor bytes in all, unless what lives needs more: then the limit
// is memoryRoom times as much.
const (
	gcPercent   = 300
	memoryFloor = 112 << 20
	memoryRoom  = 2
	paceEvery   = 5 * time.Second
)

// PaceMemory paces the garbage collector of this process until ctx ends: few collections while memory is small, a soft
// limit that grows with what lives, so that it never starves. GOGC or GOMEMLIMIT in the environment turn it off.
func PaceMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(gcPercent)
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
