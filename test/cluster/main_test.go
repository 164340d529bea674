package cluster

import (
	"testing"

	"sallyport/test/sut"
)

func TestMain(m *testing.M) { sut.Main(m) }
