module sallyport/services/policy-svc

go 1.26.0

require sallyport/pkg v0.0.0

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/prometheus/client_golang v1.25.0 // indirect
	go.mongodb.org/mongo-driver/v2 v2.9.3 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)

replace sallyport/pkg => ../../pkg
