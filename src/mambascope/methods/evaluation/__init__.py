"""Evaluation: what can a model recall, chain and hold in mind?"""
