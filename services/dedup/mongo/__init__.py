"""Dedup's side of MongoDB."""

from services.dedup.mongo.customer_records import MongoCustomerRecords, current_customers
from services.dedup.mongo.erasures import MongoErasures
from services.dedup.mongo.identities import MongoIdentities
from services.dedup.mongo.move_logs import MongoMoveLogs
from services.dedup.mongo.views import MongoViews

__all__ = ["MongoCustomerRecords", "MongoErasures", "MongoIdentities", "MongoMoveLogs", "MongoViews", "current_customers"]
