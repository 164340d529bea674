module sallyport/services/policy-svc

go 1.26.0

require sallyport/pkg v0.0.0

require pgregory.net/rapid v1.3.0 // indirect

replace sallyport/pkg => ../../pkg
