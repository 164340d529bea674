package service

import "testing"

func TestTheMemoryLimitNeverStarvesTheCollector(t *testing.T) {
	for _, live := range []uint64{0, 1 << 20, memoryFloor / 2, memoryFloor, 1 << 30, 1 << 36} {
		limit := memoryLimit(live)
		if limit < memoryFloor || uint64(limit) < memoryRoom*live {
			t.Errorf("with %d bytes alive the limit is %d", live, limit)
		}
	}
}
