"""Dedup's side of MongoDB."""

from services.dedup.mongo.identities import MongoIdentities

__all__ = ["MongoIdentities"]
